"""DDPM's linear schedule."""

from diffkit_schedules.rates import LinearRates, check_betas


class Linear(LinearRates):
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
        check_betas(beta_1, beta_T, T)
        self.beta_1, self.beta_T, self.T = beta_1, beta_T, T
        super().__init__(T * beta_1, T * beta_T, beta_1)
