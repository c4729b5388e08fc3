"""The Cauchy schedule."""

from math import atan, inf

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_schedules.ends import check_ends, check_mean
from diffkit_schedules.preserving import Preserving


class Cauchy(Preserving):
    """λ at uniform times has a Cauchy distribution: much of the time at middle noise, but heavy tails.

    Hang et al., "Improved Noise Schedule for Diffusion Training" (2024), table 1, cut off at the ends:

        λ = μ + γ tan ω,    ω uniform in t from arctan((lam_max - μ)/γ) to arctan((lam_min - μ)/γ).

    The paper's λ is 2λ here, so its μ and γ are twice these.

    Args:
        mean: μ, between the ends.
        scale: γ, the distance from it within which half of all λ are where nothing is cut off.
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
    """

    def __init__(self, mean: float = 0.0, scale: float = 0.5, lam_min: float = -10.0, lam_max: float = 10.0) -> None:
        check_ends(lam_min, lam_max)
        check_mean(mean, lam_min, lam_max)
        if not 1e-3 <= scale < inf:
            raise DiffkitError(f"scale={scale} is not a width; give a number of 0.001 or more, such as scale=0.5")
        self.mean, self.scale, self.lam_min, self.lam_max = mean, scale, lam_min, lam_max
        self._omega_0 = atan((lam_max - mean) / scale)
        self._delta = self._omega_0 - atan((lam_min - mean) / scale)

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return self.mean + self.scale * torch.tan(self._omega_0 - t * self._delta)

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (ω₀ - ω) / Δ, in [0, 1] also where λ is beyond the ends."""
        return ((self._omega_0 - torch.atan((lam - self.mean) / self.scale)) / self._delta).clamp(0, 1)
