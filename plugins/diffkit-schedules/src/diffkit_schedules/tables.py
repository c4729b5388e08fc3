"""DDPM's and Stable Diffusion's tables as they are, beside their limits of short steps."""

import torch

from diffkit_schedules.rates import check_betas
from diffkit_schedules.tabulated import Tabulated


class LinearTable(Tabulated):
    """DDPM's table itself: β_k linear in k, α_k² the product of 1 - β up to k, entry k at t = (k-1)/(T-1).

    Ho et al., "Denoising Diffusion Probabilistic Models" (2020), section 4. Models that were trained on whole timesteps
    know these levels exactly; ``linear`` is the same in the limit of short steps, and differs by 3 % in σ/α at t=1.

    Args:
        beta_1: the first noise variance of the table.
        beta_T: the last.
        T: the number of its steps. It sets how much noise there is in all, not how many steps a sampler takes.
    """

    def __init__(self, beta_1: float = 1e-4, beta_T: float = 0.02, T: int = 1000) -> None:
        check_betas(beta_1, beta_T, T)
        self.beta_1, self.beta_T, self.T = beta_1, beta_T, T
        super().__init__(betas=torch.linspace(beta_1, beta_T, T, dtype=torch.float64).tolist())


class ScaledLinearTable(Tabulated):
    """Stable Diffusion's table itself: √β_k linear in k, α_k² the product of 1 - β up to k, entry k at t = (k-1)/(T-1).

    Rombach et al., "High-Resolution Image Synthesis with Latent Diffusion Models" (2022), as released.
    ``scaled_linear`` is the same in the limit of short steps.

    Args:
        beta_1: the first noise variance of the table.
        beta_T: the last.
        T: the number of its steps. It sets how much noise there is in all, not how many steps a sampler takes.
    """

    def __init__(self, beta_1: float = 0.00085, beta_T: float = 0.012, T: int = 1000) -> None:
        check_betas(beta_1, beta_T, T)
        self.beta_1, self.beta_T, self.T = beta_1, beta_T, T
        root = torch.linspace(beta_1**0.5, beta_T**0.5, T, dtype=torch.float64)
        super().__init__(betas=root.square().tolist())
