"""The Laplace schedule."""

from math import exp

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_schedules.ends import check_ends, check_mean
from diffkit_schedules.preserving import Preserving

REACH = 20.0
"""How many scales from the mean an end may be: in float64, times near 1 tell levels apart to 1e-7 of a scale there."""


class Laplace(Preserving):
    """λ at uniform times has a Laplace distribution: most of the time is spent at middle noise.

    Hang et al., "Improved Noise Schedule for Diffusion Training" (2024), table 1. With w the share of levels that are
    noisier and v = 1 - w that of cleaner ones,

        λ = μ - b log(2v)  where v < ½,        λ = μ + b log(2w)  elsewhere,

    and v runs over [v₀, 1 - w₁] uniformly in t, where ½ exp(-(lam_max - μ)/b) and ½ exp((lam_min - μ)/b) are beyond the
    ends. The paper's λ is 2λ here, so its μ and b are twice these.

    Args:
        mean: μ, between the ends.
        scale: b, the mean distance of λ from it; the paper prefers 0.25.
        lam_min: λ at t=1, at most 20 b below the mean; a little signal is left there.
        lam_max: λ at t=0, at most 20 b above it; a little noise is left there.
    """

    def __init__(self, mean: float = 0.0, scale: float = 0.25, lam_min: float = -5.0, lam_max: float = 5.0) -> None:
        check_ends(lam_min, lam_max)
        check_mean(mean, lam_min, lam_max)
        if not max(lam_max - mean, mean - lam_min) <= REACH * scale:
            raise DiffkitError(
                f"scale={scale} leaves hardly any time to λ as far from the mean as {lam_min} and {lam_max}; give ends "
                f"within {REACH:g} scales of it, such as scale=0.25 lam_min=-5 lam_max=5"
            )
        self.mean, self.scale, self.lam_min, self.lam_max = mean, scale, lam_min, lam_max
        self._v_0, self._w_1 = exp(-(lam_max - mean) / scale) / 2, exp((lam_min - mean) / scale) / 2
        self._delta = 1 - self._v_0 - self._w_1

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        v, w = self._v_0 + t * self._delta, self._w_1 + (1 - t) * self._delta
        return self.mean + self.scale * torch.where(v < 0.5, -(2 * v).log(), (2 * w).log())

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (v - v₀) / Δ, in [0, 1] also where λ is beyond the ends."""
        distance = (lam - self.mean) / self.scale
        above, below = torch.exp(-distance.clamp(min=0)) / 2, torch.exp(distance.clamp(max=0)) / 2
        return ((torch.where(distance > 0, above, 1 - below) - self._v_0) / self._delta).clamp(0, 1)
