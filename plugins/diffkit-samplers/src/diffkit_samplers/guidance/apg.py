"""Adaptive projected guidance."""

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Pair, Rule
from diffkit_samplers.guidance.guided import Base

TINY = 1e-12


class APG(Rule):
    """Guidance without the part that points along the estimate, which is what saturates at large scales.

    With Δ = D_good - D_bad, of no more than norm r, split into Δ_∥ along D_good and Δ_⊥ across it,

        D = D_good + (scale - 1) (Δ_⊥ + η Δ_∥),        Δ ← Δ min(1, r/‖Δ‖).

    Sadat et al., "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models" (2025), in x_0
    and without momentum, which would make an estimate depend on those before it.

    Args:
        scale: the guidance's scale; none leaves it its own.
        eta: η, the share of Δ_∥ that is kept; 1 keeps guidance as it is.
        norm: r, the largest norm of Δ over a sample; none sets no limit.
        base: the guidance: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        scale: float | None = None,
        eta: float = 0.0,
        norm: float | None = None,
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(base, scale, spec)
        if norm is not None and not norm > 0:
            raise DiffkitError(f"norm={norm} is not the limit of a norm; give a number above 0, or none for no limit")
        self.eta, self.norm = eta, norm

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_good, and the D_bad that is away from it by what is left of Δ."""
        good, bad = super().pair(denoiser, x, at, cond)
        along, push = good.flatten(1), (good - bad).flatten(1)
        if self.norm is not None:
            push = push * (self.norm / push.norm(dim=1, keepdim=True).clamp(min=TINY)).clamp(max=1)
        share = (push * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True).clamp(min=TINY)
        return good, good - (push - (1 - self.eta) * share * along).reshape(good.shape)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return that D_bad alone."""
        return self.pair(denoiser, x, at, cond)[1]
