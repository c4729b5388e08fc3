"""Power-function averages of a training's weights, and any of them from snapshots of a few.

Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), section 3 and appendix C. The
average of exponent γ weighs the weights of step τ by τ^γ. Its relative length, the standard deviation of that profile
over the step t that it was taken at, is the same at every t, so one number suits a training of any length.
"""

from collections.abc import Sequence
from math import expm1, log1p, sqrt
from typing import NamedTuple

import torch
from torch import Tensor

from diffkit.errors import DiffkitError

LONGEST = 1 / sqrt(12)
"""The relative length of the plain mean, γ = 0."""


class Profile(NamedTuple):
    """A power-function average by its relative length, and the step (from 1) that it was taken at."""

    length: float
    step: int


def exponent(length: float) -> float:
    """Return γ of a relative length: the root of (γ + 1) = length² (γ + 2)² (γ + 3), which is 0 for the plain mean.

    Raises:
        DiffkitError: where it is not a length between 0 and that of the plain mean.
    """
    if not 0 < length < LONGEST:
        raise DiffkitError(
            f"{length} is not the relative length of an average; give one above 0 and below {LONGEST:.4f}, such as 0.1"
        )
    square, gamma = length**-2, 1 / length  # Newton's method from above the largest root falls until it is there
    while True:
        value = ((gamma + 7) * gamma + 16 - square) * gamma + 12 - square
        better = gamma - value / ((3 * gamma + 14) * gamma + 16 - square)
        if not better < gamma:
            return gamma
        gamma = better


def newest_weight(gamma: float, step: int) -> float:
    """Return the share of the weights of ``step`` (from 1) in the average taken there: 1 - (1 - 1/step)^(γ + 1)."""
    return -expm1((gamma + 1) * log1p(-1 / step)) if step > 1 else 1.0


def inner(first: Sequence[Profile], second: Sequence[Profile]) -> Tensor:
    """Return the integrals of p q over τ for all pairs of profiles, in float64.

    A profile is p(τ) = (γ + 1) τ^γ / t^(γ + 1) up to its step t, and 0 after it.
    """
    (a, s), (b, t) = _columns(first), _columns(second)
    a, s = a[:, None], s[:, None]
    early, late = torch.minimum(s, t), torch.maximum(s, t)
    of_the_later = torch.where(s < t, b, a)
    return (a + 1) * (b + 1) / (a + b + 1) * (early / late) ** of_the_later / late


def combination(profiles: Sequence[Profile], wanted: Profile) -> tuple[Tensor, float]:
    """Return the weights, which add up to 1, that bring the profiles nearest to a wanted one, and how near.

    A sum of 1 leaves a parameter that never moved where it is. The second number is the distance in the mean square
    over the norm of the wanted profile: 0 where it is one of the profiles.
    """
    scale = wanted.step  # times relative to the wanted end keep the equations well-conditioned
    gram, right = scale * inner(profiles, profiles), scale * inner(profiles, [wanted])
    n = len(profiles)
    bordered = torch.ones(n + 1, n + 1, dtype=torch.float64)
    bordered[:n, :n], bordered[n, n] = gram, 0
    weights = torch.linalg.solve(bordered, torch.cat((right, torch.ones(1, 1, dtype=torch.float64))))[:n, 0]
    norm = scale * inner([wanted], [wanted]).item()
    squared = norm - 2 * (weights @ right[:, 0]).item() + (weights @ gram @ weights).item()
    return weights, sqrt(max(squared, 0.0) / norm)


def _columns(profiles: Sequence[Profile]) -> tuple[Tensor, Tensor]:
    gammas = torch.tensor([exponent(length) for length, _ in profiles], dtype=torch.float64)
    return gammas, torch.tensor([step for _, step in profiles], dtype=torch.float64)
