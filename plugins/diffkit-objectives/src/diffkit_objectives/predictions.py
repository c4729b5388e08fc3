"""What the network's output F means: the coefficients of D = c_skip x + c_out F(c_in x).

The formulas hold for any α and σ, variance-preserving or not, and for floats and tensors alike. With x_t = α x_0 + σ ε
and s the standard deviation of the data, every prediction scales the network's input by c_in = 1/√(α²s² + σ²), to unit
variance, and F does not change where x_t is scaled: what a network is asked depends on λ alone, under any schedule.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.objective import Number


def input_scale(alpha: Number, sigma: Number, std: float | Tensor) -> Number:
    """Return c_in = 1/√(α²s² + σ²) for data of standard deviation s = ``std``."""
    return (alpha**2 * std**2 + sigma**2) ** -0.5


class _Prediction:
    """What the predictions without options share: the standard deviation of the data, 1 where there is no spec."""

    def __init__(self, spec: DataSpec | None = None) -> None:
        self.std = spec.std if spec else 1.0


class EpsPrediction(_Prediction):
    """F = ε, so x_0 = (x - σF) / α. Ho et al., "Denoising Diffusion Probabilistic Models" (2020)."""

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        return 1 / alpha, -sigma / alpha, input_scale(alpha, sigma, self.std)


class ScorePrediction(_Prediction):
    """F = σ ∇ log p(x_t), so x_0 = (x + σF) / α.

    The score itself, the mean of -ε/σ, grows without bound as noise vanishes. σ times it keeps its size: the target is
    -ε. Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021),
    whose networks are divided by σ at the end.
    """

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        return 1 / alpha, sigma / alpha, input_scale(alpha, sigma, self.std)


class X0Prediction(_Prediction):
    """F = x_0."""

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        return 0 * alpha, alpha**0, input_scale(alpha, sigma, self.std)


class VPrediction(_Prediction):
    """F = v = (αε - σx_0) / √(α² + σ²), so x_0 = αx / (α² + σ²) - σF / √(α² + σ²).

    Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (2022), where α² + σ² = 1. Dividing
    by the root keeps v of the size of the data under any schedule, and a network that learned it under one works under
    another.
    """

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        square = alpha**2 + sigma**2
        return alpha / square, -sigma / square**0.5, input_scale(alpha, sigma, self.std)


class FlowPrediction(_Prediction):
    """F = u = ε - x_0, so x_0 = (x - σF) / (α + σ).

    The velocity of Liu et al., "Flow Straight and Fast" (2022), where α + σ = 1.
    """

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        total = alpha + sigma
        return 1 / total, -sigma / total, input_scale(alpha, sigma, self.std)


class EDMPrediction:
    """F is what is left of x_0 after the best linear guess, at unit variance at every level.

        c_skip = α s² / (α²s² + σ²),    c_out = σ s / √(α²s² + σ²),    c_in = 1 / √(α²s² + σ²)

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1, for any α.

    Args:
        sigma_data: the standard deviation s of the data, or a list of one for each channel, for latents whose channels
            differ in scale; that of the spec where none is given, 1 without a spec.
        spec: what the network models.
    """

    def __init__(self, sigma_data: float | list[float] | None = None, spec: DataSpec | None = None) -> None:
        self.sigma_data: float | Tensor = (
            channel_stds(sigma_data, spec) if isinstance(sigma_data, Sequence) else data_std(sigma_data, spec)
        )

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``; with one standard deviation a channel, tensors whose last axis they are."""
        if isinstance(self.sigma_data, Tensor) and isinstance(alpha, Tensor):
            alpha, sigma = alpha[..., None], sigma[..., None]
        c_in = input_scale(alpha, sigma, self.sigma_data)
        return alpha * (self.sigma_data * c_in) ** 2, sigma * self.sigma_data * c_in, c_in


def channel_stds(sigma_data: Sequence[float], spec: DataSpec | None) -> Tensor:
    """Return the standard deviation of each channel, ``(channels,)``."""
    if spec is not None and len(sigma_data) != spec.channels:
        raise DiffkitError(
            f"sigma_data={list(sigma_data)} has {len(sigma_data)} numbers, but the data has {spec.channels} channels; "
            f"give one number for all, or one for each"
        )
    return torch.tensor([data_std(std, spec) for std in sigma_data], dtype=torch.float64)


def data_std(sigma_data: float | None, spec: DataSpec | None) -> float:
    """Return the standard deviation of the data: the option where given, else the spec's, else 1."""
    std = sigma_data if sigma_data is not None else spec.std if spec else 1.0
    if not 0 < std < float("inf"):
        raise DiffkitError(
            f"sigma_data={std} is not a standard deviation; give a number above 0, or none for the data's own"
        )
    return std
