"""What the network's output F means: the coefficients of D = c_skip x + c_out F(c_in x).

The formulas hold for any α and σ, variance-preserving or not, and for floats and tensors alike. With x_t = α x_0 + σ ε
and s the standard deviation of the data, every prediction scales the network's input by c_in = 1/√(α²s² + σ²), to unit
variance, and F does not change where x_t is scaled: what a network is asked depends on λ alone, under any schedule.
"""

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.objective import Number


def input_scale(alpha: Number, sigma: Number, std: float) -> Number:
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
        sigma_data: the standard deviation s of the data; that of the spec where none is given, 1 without a spec.
        spec: what the network models.
    """

    def __init__(self, sigma_data: float | None = None, spec: DataSpec | None = None) -> None:
        self.sigma_data = data_std(sigma_data, spec)

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)``."""
        c_in = input_scale(alpha, sigma, self.sigma_data)
        return alpha * (self.sigma_data * c_in) ** 2, sigma * self.sigma_data * c_in, c_in


def data_std(sigma_data: float | None, spec: DataSpec | None) -> float:
    """Return the standard deviation of the data: the option where given, else the spec's, else 1."""
    std = sigma_data if sigma_data is not None else spec.std if spec else 1.0
    if not 0 < std < float("inf"):
        raise DiffkitError(
            f"sigma_data={std} is not a standard deviation; give a number above 0, or none for the data's own"
        )
    return std
