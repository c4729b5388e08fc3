"""The cosine schedule."""

from math import atan, exp, pi

import torch
from torch import Tensor

from diffkit_schedules.ends import check_ends


class Cosine:
    """α = cos φ and σ = sin φ, with φ uniform in t: signal and noise change places at an even pace.

    Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models" (2021), in the continuous form of Salimans &
    Ho, "Progressive Distillation" (2022). Since tan φ = exp(-λ), the ends of λ are those of φ:

        φ(t) = φ₀ + t Δ,                           φ₀ = arctan exp(-lam_max),
        ψ(t) = π/2 - φ(t) = ψ₁ + (1 - t) Δ,        ψ₁ = arctan exp(lam_min),

    and α is computed as sin ψ, which unlike cos φ loses no digits where α is small.

    Args:
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
    """

    def __init__(self, lam_min: float = -10.0, lam_max: float = 10.0) -> None:
        check_ends(lam_min, lam_max)
        self.lam_min, self.lam_max = lam_min, lam_max
        self._phi_0, self._psi_1 = atan(exp(-lam_max)), atan(exp(lam_min))
        self._delta = pi / 2 - self._phi_0 - self._psi_1

    def alpha(self, t: Tensor) -> Tensor:
        """Return α = sin ψ at times ``t``."""
        return torch.sin(self._psi_1 + (1 - t) * self._delta)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ = sin φ at times ``t``."""
        return torch.sin(self._phi_0 + t * self._delta)

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = log sin ψ - log sin φ at times ``t``."""
        return self.alpha(t).log() - self.sigma(t).log()

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (arctan exp(-λ) - φ₀) / Δ, in [0, 1] also where λ is beyond the ends."""
        return ((torch.atan(torch.exp(-lam)) - self._phi_0) / self._delta).clamp(0, 1)
