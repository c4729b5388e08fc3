"""Stable Diffusion's schedule."""

from torch import Tensor

from diffkit_schedules.rates import Rates, check_betas


class ScaledLinear(Rates):
    """The variance-preserving process of which √β grows linearly: Stable Diffusion's table in the limit of short steps.

    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), as released. With s in (0, 1]
    the place in the table, r = √β_1 and d = √β_T - √β_1,

        B(s) = T ∫ (r + d s)² ds = T (r² s + r d s² + d² s³/3),    α² = exp(-B),    σ² = 1 - exp(-B),
        s(B) = 3 b / (q² + q r + r²),    b = B/T,    q³ = r³ + 3 d b.

    Time t=0 is the place s₀ where σ² is the table's first, β_1, and t=1 is its end.

    Args:
        beta_1: the first noise variance of the table.
        beta_T: the last.
        T: the number of its steps. It sets how much noise there is in all, not how many steps a sampler takes.
    """

    def __init__(self, beta_1: float = 0.00085, beta_T: float = 0.012, T: int = 1000) -> None:
        check_betas(beta_1, beta_T, T)
        self.beta_1, self.beta_T, self.T = beta_1, beta_T, T
        self._root, self._growth = beta_1**0.5, beta_T**0.5 - beta_1**0.5
        super().__init__(beta_1)

    def integral(self, s: Tensor) -> Tensor:
        """Return B at places ``s``."""
        r, d = self._root, self._growth
        return self.T * s * (r * r + d * s * (r + d * s / 3))

    def place(self, integral: Tensor) -> Tensor:
        """Return the places at which B is ``integral``."""
        r, d, b = self._root, self._growth, integral / self.T
        q = (r**3 + 3 * d * b) ** (1 / 3)
        return 3 * b / (q * q + q * r + r * r)
