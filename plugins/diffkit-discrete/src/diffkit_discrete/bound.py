"""A lower bound on the probability that a model gives to tokens."""

import torch
from torch import Tensor

from diffkit import DiffkitError, Streams, generator, levels_at
from diffkit_discrete.contracts import TokenDenoise
from diffkit_discrete.levels import bound_weight, spread_keep


@torch.no_grad()
def elbo(
    denoiser: TokenDenoise, x0: Tensor, *, draws: int = 128, streams: Streams | None = None, **cond: Tensor
) -> Tensor:
    """Return an estimate of a lower bound on log p(x_0), in nats, ``(batch,)``; its mean is the bound.

    The integral of :mod:`diffkit_discrete.tokens` is taken over as many strata of levels as there are draws, one random
    level in each. With the exact denoiser the bound is log p(x_0) itself.

    Args:
        denoiser: the model.
        x0: clean tokens ``(batch, *shape)``, int64.
        draws: the number of evaluations of the model.
        streams: one random stream a sample; its seed also draws the levels.
        cond: conditions for the denoiser, each ``(batch, ...)``.
    """
    if draws < 1:
        raise DiffkitError(f"draws={draws} is not a number of noise levels; give 1 or more, such as draws=128")
    offsets = torch.rand(draws, generator=generator(streams.seed, "levels") if streams else None, dtype=torch.float64)
    keep = spread_keep((torch.arange(draws) + offsets) / draws)
    like = torch.empty((), device=x0.device)
    weights, a = bound_weight(keep).tolist(), keep.to(like)
    total: Tensor | float = 0.0
    for step, at in enumerate(levels_at((keep.logit() / 2).tolist(), like=like)):
        shape = (2, *x0.shape[1:])
        noise = streams.draw(shape, step, like=like) if streams else torch.randn(len(x0), *shape, device=x0.device)
        x = denoiser.process.corrupt(x0, a[step].expand(len(x0)), noise)
        log_p = denoiser(x, at, **cond)
        divergence = denoiser.process.divergence(x0, x, log_p, at.tensor.expand(len(x0)))
        total = total - weights[step] / draws * divergence.flatten(1).sum(1)
    return torch.as_tensor(total)
