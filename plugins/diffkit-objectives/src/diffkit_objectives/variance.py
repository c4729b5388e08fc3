"""A prediction that also says how uncertain it is."""

from collections.abc import Mapping
from typing import Any

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.objective import Number, Prediction
from diffkit_objectives.predictions import input_scale


class LearnedVariance:
    """Another prediction, with a network that also learns the variance of each value of x_0 given x_t.

    A second output G is the log of that variance over s²σ² / (α²s² + σ²), which it is for normal data of standard
    deviation s. It is trained beside the first by the likelihood of the error that the estimate D makes,

        ½ (G + (x_0 - D)² (α²s² + σ²) / (s²σ² exp(G))),

    which is least where it is the mean square of that error. No gradient goes through D, whose own loss is what it is
    without; the two share the network but for its last layer.

    Bao et al., "Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models" (2022): the
    best variance of every ancestral step, of any length and under any schedule, follows from this one, whereas that of
    Nichol & Dhariwal (2021) belongs to the steps it was trained for. ``sampler=ddpm sampler.variance=learned`` uses it.

    Args:
        base: the prediction: its name, a mapping of its name and options, or itself.
        spec: what the network models.
    """

    def __init__(self, base: str | Prediction = "edm", spec: DataSpec | None = None) -> None:
        named: Any = base
        self.base: Prediction = (
            build("prediction", named, spec=spec) if isinstance(named, str | Mapping) else base  # type: ignore[assignment]
        )
        if hasattr(self.base, "variance"):
            raise DiffkitError(f"base={base} learns a variance itself; give another, such as base=edm")
        self.std = spec.std if spec else 1.0

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)`` of the base."""
        return self.base.coefficients(alpha, sigma)

    def variance(self, alpha: Number, sigma: Number) -> Number:
        """Return s²σ² / (α²s² + σ²)."""
        return (self.std * sigma * input_scale(alpha, sigma, self.std)) ** 2
