"""Guidance of flows with a fitted scale and a held start."""

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Pair, Rule
from diffkit_samplers.guidance.guided import Base
from diffkit_samplers.guidance.interval import refuse_interval

TINY = 1e-12


class ZeroInit(Rule):
    """CFG-Zero*: the worse velocity scaled to fit the better one, and no motion at all at first.

    In the coordinates of rectified flow, y = x/(α + σ) and τ = σ/(α + σ), the velocity is v = (y - D)/τ, and

        v = s v_bad + scale (v_good - s v_bad),        s = ⟨v_good, v_bad⟩/‖v_bad‖²,

    with s the least squares fit for each sample. Where σ/α is above ``sigma_zero`` v is 0, that is D = y, without an
    evaluation: there, early in training above all, the velocity is worse than none. With ``scale=1`` it is the model as
    it is, there, too.

    Fan et al., "CFG-Zero*: Improved Classifier-Free Guidance for Flow Matching Models" (2025), eq. 14 and algorithm 1.

    Args:
        sigma_zero: the σ/α down to which nothing moves: 24 is τ = 0.96, the paper's first 4 % of the time; none is no
            such part.
        scale: the guidance's scale; none leaves it its own.
        base: the guidance: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        sigma_zero: float | None = 24.0,
        scale: float | None = None,
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(base, scale, spec)
        refuse_interval(self, "zero_init")
        if sigma_zero is not None and not sigma_zero > 0:
            raise DiffkitError(f"sigma_zero={sigma_zero} is not a noise level; give one above 0, or none")
        self.sigma_zero = sigma_zero

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_good, and the D_bad whose velocity is s times as large."""
        y = x / (at.alpha + at.sigma)
        if self.sigma_zero is not None and at.ratio > self.sigma_zero:
            return y, y
        good, bad = super().pair(denoiser, x, at, cond)
        v_good, v_bad = (y - good).flatten(1), (y - bad).flatten(1)
        fit = (v_good * v_bad).sum(1, keepdim=True) / v_bad.square().sum(1, keepdim=True).clamp(min=TINY)
        return good, y - (fit * v_bad).reshape(y.shape)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return that D_bad alone."""
        return self.pair(denoiser, x, at, cond)[1]
