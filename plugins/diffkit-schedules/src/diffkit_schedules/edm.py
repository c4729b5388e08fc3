"""The schedule of EDM."""

from math import isfinite

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_schedules.ends import check_sigmas


class EDM:
    """α = 1, and σ grows so that its ρ-th root is linear in t.

        σ(t) = (σ_min^(1/ρ) + t (σ_max^(1/ρ) - σ_min^(1/ρ)))^ρ

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), eq. 5, in continuous
    time: a grid uniform in t is the paper's grid of noise levels. α does not depend on t, so data keeps its scale.

    Args:
        sigma_min: σ at t=0.
        sigma_max: σ at t=1, far above the standard deviation of the data.
        rho: ρ; the larger, the more of the time is spent at little noise.
    """

    def __init__(self, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> None:
        check_sigmas(sigma_min, sigma_max)
        if not (rho > 0 and isfinite(rho)):
            raise DiffkitError(f"rho={rho} is not an exponent of noise levels; give a number above 0, such as rho=7")
        self.sigma_min, self.sigma_max, self.rho = sigma_min, sigma_max, rho
        self._first, self._last = sigma_min ** (1 / rho), sigma_max ** (1 / rho)

    def _root(self, t: Tensor) -> Tensor:
        return self._first + t * (self._last - self._first)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 at times ``t``."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return self._root(t) ** self.rho

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = -log σ at times ``t``."""
        return -self.rho * self._root(t).log()

    def time(self, lam: Tensor) -> Tensor:
        """Return the t whose σ is exp(-λ), in [0, 1] also where λ is beyond the ends."""
        return ((torch.exp(-lam / self.rho) - self._first) / (self._last - self._first)).clamp(0, 1)
