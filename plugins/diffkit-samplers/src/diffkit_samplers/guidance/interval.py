"""Guidance at some noise levels only."""

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Contrast, Rule
from diffkit_samplers.guidance.guided import Base


class Interval(Rule):
    """Another guidance where sigma_min < σ/α ≤ sigma_max, and the model as it is elsewhere, at the cost of it alone.

    Kynkäänniemi et al., "Applying Guidance in a Limited Interval Improves Sample and Distribution Quality in Diffusion
    Models" (2024). The defaults are its best interval on ImageNet-512, (0.28, 2.9] for data of standard deviation ½,
    relative to the data's own.

    Args:
        sigma_min: the σ/α down to which there is guidance; none is 0.56 times the data's standard deviation.
        sigma_max: the σ/α from which on there is guidance; none is 5.8 times the data's standard deviation.
        scale: the guidance's scale; none leaves it its own.
        base: the guidance: its name, a mapping of its name and options, or itself.
        spec: what the model sees; without it, the standard deviation is taken for ½.
    """

    def __init__(
        self,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        scale: float | None = None,
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(base, scale, spec)
        std = 0.5 if spec is None else spec.std
        self.sigma_min = 0.56 * std if sigma_min is None else sigma_min
        self.sigma_max = 5.8 * std if sigma_max is None else sigma_max
        if not 0 <= self.sigma_min < self.sigma_max:
            raise DiffkitError(
                f"sigma_min={self.sigma_min:g} and sigma_max={self.sigma_max:g} are no interval of noise levels; give "
                f"0 <= sigma_min < sigma_max, such as sigma_min=0.28 sigma_max=2.9"
            )

    def strength(self, denoiser: Denoise, at: Level) -> float:
        """Return the guidance's scale within the interval, and 1 elsewhere."""
        return super().strength(denoiser, at) if self._within(at) else 1.0

    def better(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_good alone, and elsewhere the model as it is."""
        asked = super().better if self._within(at) else super().plain
        return asked(denoiser, x, at, cond)

    def _within(self, at: Level) -> bool:
        return self.sigma_min < at.ratio <= self.sigma_max


def refuse_interval(rule: Rule, name: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` where there is an interval within a rule that works outside of it, too."""
    within: Contrast = rule.contrast
    while isinstance(within, Rule):
        if isinstance(within, Interval):
            raise DiffkitError(
                f"{name} works outside of the interval within it, too; put the interval around it: guidance=interval "
                f"guidance.base={name}"
            )
        within = within.contrast
