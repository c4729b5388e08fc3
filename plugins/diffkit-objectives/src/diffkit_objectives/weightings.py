"""What the loss emphasises: weights on the squared error of x_0 by λ, with SNR = exp(2λ) = α²/σ².

An error of x_0 is one of c_out times less in the network's output, so w on the one is w c_out² on the other. The
denoiser converts; a weighting is written once and means the same loss for every prediction.
"""

from math import exp

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit_objectives.predictions import data_std


class UniformWeighting:
    """w = 1: the squared error of x_0."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.ones_like(lam)


class SNRWeighting:
    """w = SNR: the squared error of ε, the "simple" loss of Ho et al. (2020)."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam)


class MinSNRWeighting:
    """w = min(SNR, γ). Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023).

    Args:
        gamma: γ, the largest weight.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        if not gamma > 0:
            raise DiffkitError(f"gamma={gamma} is not a largest weight; give a number above 0, such as gamma=5")
        self.gamma = gamma

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam).clamp(max=self.gamma)


class EDMWeighting:
    """w = SNR + 1/s²: one over c_out² of EDM, so that its network's output is weighed equally at all levels.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.

    Args:
        sigma_data: the standard deviation s of the data; that of the spec where none is given, 1 without a spec.
        spec: what the network models.
    """

    def __init__(self, sigma_data: float | None = None, spec: DataSpec | None = None) -> None:
        self.sigma_data = data_std(sigma_data, spec)

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam) + self.sigma_data**-2


class FlowWeighting:
    """w = (1 + α/σ)²: the squared error of the flow ε - x_0. Lipman et al., "Flow Matching" (2022)."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return (1 + torch.exp(lam)) ** 2


class SigmoidWeighting:
    """w = SNR sigmoid(b - log SNR), which goes from SNR where there is noise to exp(b) where there is none.

    Kingma & Gao, "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation" (2023), section 5, who
    put sigmoid(b - log SNR) on the error of ε.

    Args:
        bias: b, the log SNR at which the weight turns over.
    """

    def __init__(self, bias: float = 2.0) -> None:
        if not abs(bias) <= 100:
            raise DiffkitError(f"bias={bias} is not a log SNR; give a number between -100 and 100, such as bias=2")
        self.bias = bias

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``, as exp(b) sigmoid(log SNR - b), which does not overflow."""
        return exp(self.bias) * torch.sigmoid(2 * lam - self.bias)
