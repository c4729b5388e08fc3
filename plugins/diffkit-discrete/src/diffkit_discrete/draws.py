"""Draws of tokens out of unit normal noise, which is what a sample's random stream gives."""

import torch
from torch import Tensor

BELOW_ONE = 1 - 2.0**-22
"""A share that stays below the whole in float32 however a sum of probabilities was rounded."""


def share(noise: Tensor) -> Tensor:
    """Return Φ(noise), uniform in [0, 1) where the noise is standard normal."""
    return torch.special.ndtr(noise).clamp(max=BELOW_ONE)


def categorical(chances: Tensor, noise: Tensor) -> Tensor:
    """Return a state for each token, drawn with ``chances``; one of chance 0 is never drawn.

    It is the first state for which the sum of chances exceeds Φ(noise) times the whole.

    Args:
        chances: ``(batch, states, *shape)``, which need not sum to one.
        noise: unit normal noise ``(batch, *shape)``.
    """
    sums = chances.cumsum(1)
    return (sums <= share(noise.to(chances))[:, None] * sums[:, -1:]).sum(1)


def columns(values: Tensor, ndim: int) -> Tensor:
    """Return ``(batch,)`` values as ``(batch, 1, …)`` of ``ndim`` axes."""
    return values.reshape(-1, *([1] * (ndim - 1)))
