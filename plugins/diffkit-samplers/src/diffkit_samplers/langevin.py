"""Predictor-corrector sampling with Langevin dynamics."""

from collections.abc import Callable, Sequence
from math import exp, expm1, sqrt
from typing import Any

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level, Point, StepSampler, summed
from diffkit_samplers.ancestral import not_negative, towards_data
from diffkit_samplers.bases import Base, built


class Langevin(StepSampler):
    """Another solver predicts, and after each of its steps Langevin dynamics corrects at the level arrived at.

    The dynamics dx = ∇ log p(x) dt + √2 dW leave p as it is; ∇ log p = (α D - x)/σ². A step of length ε = 2 (snr σ)²
    with D held is, with k = exp(-ε/σ²) = exp(-2 snr²) and fresh noise n,

        x ← α D + k (x - α D) + σ √(1 - k²) n.

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), algorithms 2 to 5:
    there the step is x + ε ∇ log p + √(2ε) n, the same to first order, and ε is 2 (snr ‖n‖/‖∇ log p‖)², with means over
    the batch. Here the norms are their expected values at known x_0, √d and √d/σ, so that a sample does not depend on
    its batch. What the dynamics settle on is p itself for one point x_0, and where the data is wide beside σ its
    variance is short by the share snr²; for steps that depend on x nothing of the kind holds.

    One evaluation a correction besides those of the predictor; no correction after the last step, to σ=0.

    Args:
        steps: the number of steps of the predictor.
        base: the predictor: its name, a mapping of its name and options, or a :class:`~diffkit.StepSampler`.
        corrector_steps: Langevin steps after each.
        snr: the ratio of a Langevin step to its noise.
        spec: what the model sees, for a predictor that asks.
    """

    def __init__(
        self,
        steps: int = 50,
        base: Base = "ddpm",
        corrector_steps: int = 1,
        snr: float = 0.16,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(steps)
        not_negative(corrector_steps=corrector_steps, snr=snr)
        self.base = built(base, steps, spec)
        if type(self.base).integrate is not StepSampler.integrate:
            raise DiffkitError(
                f"base={type(self.base).__name__} walks a grid in its own way, which leaves no place for corrections; "
                f"give a solver that goes from level to level, such as base=ddpm"
            )
        self.corrector_steps, self.snr = corrector_steps, snr
        self.history, self.moments = self.base.history, self.base.moments
        self.kept, self.fresh = exp(-2 * snr**2), sqrt(-expm1(-4 * snr**2))

    def prepare(self, path: Sequence[Level]) -> Sequence[Any]:
        """Return what the predictor prepares."""
        towards_data(path)
        return self.base.prepare(path)

    def correct(self, x: Tensor, x0: Tensor, now: Level, *, past: Sequence[Point], plan: Any) -> Tensor:
        """Return what the predictor makes of its own arrival."""
        return self.base.correct(x, x0, now, past=past, plan=plan)

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        plan: Any,
        denoise: Callable[[Tensor, Level], Tensor],
        draw: Callable[[], Tensor],
    ) -> Tensor:
        """Return the sample at level ``then``."""
        x = self.base.step(x, x0, now, then, past=past, plan=plan, denoise=denoise, draw=draw)
        if then.sigma:
            for _ in range(self.corrector_steps):
                estimate = denoise(x, then)[0] if self.moments else denoise(x, then)
                x = summed((self.kept, then.alpha * (1 - self.kept)), (x, estimate))
                x.add_(draw(), alpha=then.sigma * self.fresh)
        return x
