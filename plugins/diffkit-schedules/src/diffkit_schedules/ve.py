"""The variance-exploding schedule."""

from math import log

import torch
from torch import Tensor

from diffkit_schedules.ends import check_sigmas


class VE:
    """α = 1, and σ grows geometrically: λ is uniform in t.

        σ(t) = σ_min (σ_max / σ_min)^t

    Song & Ermon, "Generative Modeling by Estimating Gradients of the Data Distribution" (2019), in the continuous form
    of Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), eq. 30.

    Args:
        sigma_min: σ at t=0.
        sigma_max: σ at t=1, far above the standard deviation of the data.
    """

    def __init__(self, sigma_min: float = 0.01, sigma_max: float = 50.0) -> None:
        check_sigmas(sigma_min, sigma_max)
        self.sigma_min, self.sigma_max = sigma_min, sigma_max
        self._lam_0, self._fall = -log(sigma_min), log(sigma_max / sigma_min)

    def alpha(self, t: Tensor) -> Tensor:
        """Return 1 at times ``t``."""
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return torch.exp(-self.lam(t))

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = -log σ at times ``t``."""
        return self._lam_0 - t * self._fall

    def time(self, lam: Tensor) -> Tensor:
        """Return the t whose σ is exp(-λ), in [0, 1] also where λ is beyond the ends."""
        return ((self._lam_0 - lam) / self._fall).clamp(0, 1)
