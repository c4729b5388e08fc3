"""Ancestral sampling of tokens, and the grid it likes."""

from itertools import pairwise

import torch
from torch import Tensor

from diffkit import DiffkitError, Streams, levels
from diffkit.contracts.sampling import Grid
from diffkit.contracts.schedule import Schedule
from diffkit_discrete.contracts import TokenDenoise
from diffkit_discrete.draws import categorical


class KeepGrid:
    """Steps over which a rises evenly: each shows as many tokens as every other, whatever the schedule."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` decreasing times, the first of them 1."""
        first, last = torch.sigmoid(2 * schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64)))
        keep = first + (last - first) * torch.arange(steps, dtype=torch.float64) / steps
        return schedule.time(keep.logit() / 2)


class AncestralSampler:
    """x_s of every token is drawn from Σ_k p(x_0 = k | x_t) q(x_s | x_t, x_0 = k), on its own.

    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), eq. 4. Tokens that change in
    one step do not see each other do so, for which the distribution of the samples is off by O(1/steps), even with the
    exact denoiser.

    Args:
        steps: the number of steps, the last of which ends at clean data.
    """

    def __init__(self, steps: int = 64) -> None:
        self.steps = checked_steps(steps)

    @torch.no_grad()
    def __call__(
        self,
        denoiser: TokenDenoise,
        noise: Tensor,
        *,
        grid: Grid | None = None,
        streams: Streams | None = None,
        **cond: Tensor,
    ) -> Tensor:
        """Return tokens of the shape of ``noise``.

        Args:
            denoiser: the model.
            noise: unit normal noise ``(batch, *shape)``, such as ``streams.draw(shape, 0)``.
            grid: where to step; :class:`KeepGrid` where none is given.
            streams: one random stream a sample, for the steps.
            cond: conditions for the denoiser, each ``(batch, ...)``.
        """
        path = levels(denoiser.schedule, (grid or KeepGrid())(denoiser.schedule, self.steps), like=noise)
        if any(then.lam <= now.lam for now, then in pairwise(path)):
            raise DiffkitError(
                "the grid's times do not decrease, and tokens are sampled from noise to data; list them the other way"
            )
        x = denoiser.process.start(noise)
        for step, (now, then) in enumerate(pairwise(path), 1):
            p = denoiser(x, now, **cond).exp()
            x = categorical(denoiser.process.posterior(x, p, now, then), fresh(noise, streams, step))
        return x


def checked_steps(steps: int) -> int:
    """Return ``steps``; raise :class:`~diffkit.DiffkitError` where there is none."""
    if steps < 1:
        raise DiffkitError(f"steps={steps} is not a number of sampling steps; give 1 or more, such as steps=64")
    return steps


def fresh(noise: Tensor, streams: Streams | None, step: int) -> Tensor:
    """Return unit normal noise for a step, like ``noise``."""
    if streams is None:
        return torch.randn_like(noise)
    if not getattr(streams.noise, "gaussian", True):
        raise DiffkitError(
            f"tokens are drawn with independent normal noise, and these streams draw {type(streams.noise).__name__}; "
            f"give Streams(seed, indices) without a noise"
        )
    return streams.draw(tuple(noise.shape[1:]), step, like=noise)
