"""DDPM's linear schedule."""

from math import log1p

import torch
from torch import Tensor

from diffkit import DiffkitError


class Linear:
    """The variance-preserving process whose rate β grows linearly: DDPM's table in the limit of short steps.

    Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 4, as the SDE of Song et al., "Score-Based
    Generative Modeling through Stochastic Differential Equations" (2021), eq. 32. With s in (0, 1] the place in
    the table,

        B(s) = T (β_1 s + (β_T - β_1) s²/2),    α² = exp(-B),    σ² = 1 - exp(-B),    λ = -½ log(exp(B) - 1).

    Time t=0 is the place s₀ where σ² is the table's first, β_1, and t=1 is its end.

    Args:
        beta_1: the first noise variance of the table.
        beta_T: the last.
        T: the number of its steps. It sets how much noise there is in all, not how many steps a sampler takes.
    """

    def __init__(self, beta_1: float = 1e-4, beta_T: float = 0.02, T: int = 1000) -> None:
        if not 0 < beta_1 <= beta_T < 1 or T < 2:
            raise DiffkitError(
                f"beta_1={beta_1}, beta_T={beta_T} and T={T} are not a table of noise variances; give "
                f"0 < beta_1 <= beta_T < 1 and T of 2 or more, such as beta_1=1e-4 beta_T=0.02 T=1000"
            )
        self.beta_1, self.beta_T, self.T = beta_1, beta_T, T
        self._slope, self._half_curve = T * beta_1, T * (beta_T - beta_1) / 2
        self._s_0 = float(self._place(torch.tensor(-log1p(-beta_1), dtype=torch.float64)))
        if self._s_0 >= 1:
            raise DiffkitError(f"T={T} steps from beta_1={beta_1} add no noise to speak of; give a larger T")

    def _integral(self, t: Tensor) -> Tensor:
        """Return B at times ``t``."""
        s = self._s_0 + t * (1 - self._s_0)
        return s * (self._slope + self._half_curve * s)

    def _place(self, integral: Tensor) -> Tensor:
        """Return the s at which B(s) = ``integral``: the positive root, in the form that has no cancellation."""
        return 2 * integral / (self._slope + (self._slope**2 + 4 * self._half_curve * integral).sqrt())

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return torch.exp(-self._integral(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return (-torch.expm1(-self._integral(t))).sqrt()

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``, from B by way of expm1."""
        integral = self._integral(t)
        return -(integral + torch.log(-torch.expm1(-integral))) / 2

    def time(self, lam: Tensor) -> Tensor:
        """Return t from B = log(1 + exp(-2λ)), in [0, 1] also where λ is beyond the ends."""
        integral = torch.logaddexp(-2 * lam, torch.zeros_like(lam))
        return ((self._place(integral) - self._s_0) / (1 - self._s_0)).clamp(0, 1)
