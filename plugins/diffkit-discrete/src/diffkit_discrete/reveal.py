"""Sampling masked tokens in a random order, as many at a time as there are calls for."""

import torch
from torch import Tensor

from diffkit import DiffkitError, Streams
from diffkit_discrete.absorbing import AbsorbingProcess
from diffkit_discrete.ancestral import checked_steps, fresh
from diffkit_discrete.contracts import TokenDenoise
from diffkit_discrete.draws import categorical, share


class RevealSampler:
    """Masked tokens are shown in the order in which the reversed process would show them, evenly over the steps.

    That process shows a token when a passes a number uniform in [0, 1], so the order and its levels can be drawn
    beforehand. With as many steps as tokens, one is shown at a time and the samples are those of ancestral sampling
    with infinitely many steps: exact with the exact denoiser. Zheng et al., "Masked Diffusion Models are Secretly
    Time-Agnostic Masked Models and Exploit Inaccurate Categorical Sampling" (2024), section 4, for one at a time.

    Args:
        steps: the number of steps, and evaluations; never more than there are tokens.
    """

    def __init__(self, steps: int = 64) -> None:
        self.steps = checked_steps(steps)

    @torch.no_grad()
    def __call__(
        self, denoiser: TokenDenoise, noise: Tensor, *, streams: Streams | None = None, **cond: Tensor
    ) -> Tensor:
        """Return tokens of the shape of ``noise``.

        Args:
            denoiser: the model, of an :class:`~diffkit_discrete.AbsorbingProcess`.
            noise: unit normal noise ``(batch, *shape)``, which decides the order.
            streams: one random stream a sample, for the tokens.
            cond: conditions for the denoiser, each ``(batch, ...)``.
        """
        process = denoiser.process
        if not isinstance(process, AbsorbingProcess):
            raise DiffkitError(
                f"RevealSampler shows masked tokens, and {type(process).__name__} has no mask; use AncestralSampler"
            )
        keep, order = share(noise.flatten(1)).sort(1)
        groups = order.tensor_split(min(self.steps, order.shape[1]), 1)
        times = self._times(denoiser, keep, [group.shape[1] for group in groups])
        x, chance = process.start(noise), fresh(noise, streams, 1)  # a token is drawn once, in one step or another
        for step, group in enumerate(groups):
            drawn = categorical(denoiser(x, times[:, step], **cond).exp(), chance).flatten(1)
            x = x.flatten(1).scatter(1, group, drawn.gather(1, group)).reshape(noise.shape)
        return x

    def _times(self, denoiser: TokenDenoise, keep: Tensor, sizes: list[int]) -> Tensor:
        """Return when the first token of each group is shown, ``(batch, steps)``, within the schedule's levels."""
        starts = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        keep = keep.to("cpu", torch.float64)[:, starts]
        ends = denoiser.schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))
        return denoiser.schedule.time((keep.logit() / 2).clamp(*ends.tolist()))
