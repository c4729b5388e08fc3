"""Adaptive projected guidance."""

from typing import Any

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Pair, Rule
from diffkit_samplers.guidance.guided import Base, Guided

TINY = 1e-12


class APG(Rule):
    """Guidance without the part that points along the estimate, which is what saturates at large scales.

    With Δ = D_good - D_bad + β Δ' for Δ' the one before, of no more than norm r, split into Δ_∥ along D_good and Δ_⊥
    across it,

        D = D_good + (scale - 1) (Δ_⊥ + η Δ_∥),        Δ ← Δ min(1, r/‖Δ‖).

    Sadat et al., "Eliminating Oversaturation and Artifacts of High Guidance Scales in Diffusion Models" (2025), in x_0.
    The one before is that of the last level with more noise, before its norm was limited: asked again at one level, a
    solver gets the same answer, and at more noise than before it begins anew.

    Args:
        scale: the guidance's scale; none leaves it its own.
        eta: η, the share of Δ_∥ that is kept; 1 keeps guidance as it is.
        norm: r, the largest norm of Δ over a sample; none sets no limit.
        momentum: β, between -1 and 1; below 0, as in the paper, Δ is what is new in it.
        base: the guidance: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        scale: float | None = None,
        eta: float = 0.0,
        norm: float | None = None,
        momentum: float = 0.0,
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(base, scale, spec)
        if norm is not None and not norm > 0:
            raise DiffkitError(f"norm={norm} is not the limit of a norm; give a number above 0, or none for no limit")
        if not -1 < momentum < 1:
            raise DiffkitError(
                f"momentum={momentum} does not fade; give a number between -1 and 1, such as momentum=-0.5"
            )
        self.eta, self.norm, self.momentum = eta, norm, momentum

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for both estimates, beside what is remembered of them."""
        return _Remembered(super().inner(denoiser))

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_good, and the D_bad that is away from it by what is left of Δ."""
        remembered: Any = denoiser
        good, bad = super().pair(remembered.denoiser, x, at, cond)
        along, push = good.flatten(1), (good - bad).flatten(1)
        if self.momentum:
            push = remembered.followed(push, at.lam, self.momentum)
        if self.norm is not None:
            push = push * (self.norm / push.norm(dim=1, keepdim=True).clamp(min=TINY)).clamp(max=1)
        share = (push * along).sum(1, keepdim=True) / along.square().sum(1, keepdim=True).clamp(min=TINY)
        return good, good - (push - (1 - self.eta) * share * along).reshape(good.shape)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return that D_bad alone."""
        return self.pair(denoiser, x, at, cond)[1]


class _Remembered(Guided):
    """A denoiser, and what it was pushed by at the level it was last asked at, and at the one before."""

    def __init__(self, denoiser: Denoise) -> None:
        super().__init__(denoiser, lambda denoiser, x, at, cond: denoiser(x, at, **cond))
        self.lam = 0.0
        self.last: Tensor | None = None
        self.before: Tensor | None = None

    def followed(self, push: Tensor, lam: float, momentum: float) -> Tensor:
        """Return ``push`` with ``momentum`` times the one before it on its trajectory."""
        if self.last is None or lam < self.lam or self.last.shape != push.shape:
            self.before = None
        elif lam > self.lam:
            self.before = self.last
        push = push if self.before is None else push.add(self.before, alpha=momentum)
        self.lam, self.last = lam, push.detach()
        return push
