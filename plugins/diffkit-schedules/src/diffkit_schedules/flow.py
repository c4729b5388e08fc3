"""The schedule of rectified flow."""

from math import exp

import torch
from torch import Tensor

from diffkit_schedules.ends import check_ends


class Flow:
    """α = 1 - σ, with σ uniform in t: data and noise are joined by straight lines walked at an even pace.

    Liu et al., "Flow Straight and Fast" (2022); Lipman et al., "Flow Matching for Generative Modeling" (2022). Since
    σ = sigmoid(-λ), the ends of λ are those of σ:

        σ(t) = σ₀ + t Δ,    σ₀ = sigmoid(-lam_max),        α(t) = α₁ + (1 - t) Δ,    α₁ = sigmoid(lam_min).

    Args:
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
    """

    def __init__(self, lam_min: float = -10.0, lam_max: float = 10.0) -> None:
        check_ends(lam_min, lam_max)
        self.lam_min, self.lam_max = lam_min, lam_max
        self._sigma_0, self._alpha_1 = 1 / (1 + exp(lam_max)), 1 / (1 + exp(-lam_min))
        self._delta = 1 - self._sigma_0 - self._alpha_1

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return self._alpha_1 + (1 - t) * self._delta

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return self._sigma_0 + t * self._delta

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = log α - log σ at times ``t``."""
        return self.alpha(t).log() - self.sigma(t).log()

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (sigmoid(-λ) - σ₀) / Δ, in [0, 1] also where λ is beyond the ends."""
        return ((torch.sigmoid(-lam) - self._sigma_0) / self._delta).clamp(0, 1)
