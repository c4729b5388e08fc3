"""Filling in what is unknown by ancestral sampling that is told the known part at every level."""

from collections.abc import Callable
from math import exp, expm1, sqrt
from typing import Any

from torch import Tensor

from diffkit import DiffkitError, Level, StepSampler
from diffkit_inference.operators import Operator, pseudo_inverse


class RePaint(StepSampler):
    """Ancestral steps, after each of which the observed part is replaced by the observation with that level's noise.

    Lugmayr et al., "RePaint: Inpainting using Denoising Diffusion Probabilistic Models" (2022), algorithm 1. Every step
    is taken ``resample`` times: in between, noise takes the sample back to where the step began, so that the unknown
    part can come to agree with the known. For a mask that is the paper; for another operator the sample's part in the
    range of A⁺ is replaced, which for means of blocks is ILVR (Choi et al. 2021). At the level where noise is as strong
    as in y, y is the observed part of a sample, and steps go on without it; that is so where A Aᵀ = I, as for masks and
    projections. Needs no derivative of the model; order 1, and ``resample`` evaluations a step but in the last.

    Args:
        operator: A.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
        steps: the number of steps.
        resample: how often each is taken.
    """

    def __init__(self, operator: Operator, y: Tensor, noise: float = 0.0, steps: int = 50, resample: int = 10) -> None:
        super().__init__(steps)
        if resample < 1:
            raise DiffkitError(f"resample={resample} takes no step at all; give 1 or more, such as resample=10")
        self.operator, self.y, self.noise, self.resample = operator, y, noise, resample

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        denoise: Callable[[Tensor, Level], Tensor],
        draw: Callable[[], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        if then.lam < now.lam:
            raise DiffkitError("RePaint adds noise and cannot walk a grid backwards; invert with sampler=heun")
        fresh = then.sigma**2 - (then.alpha * self.noise) ** 2
        if fresh < 0:
            return _ancestral(x, x0, now, then, draw)
        kept = now.alpha / then.alpha
        for again in range(self.resample):
            x_then = _ancestral(x, x0, now, then, draw)
            y = then.alpha * self.y.to(x) + sqrt(fresh) * self.operator.forward(draw())
            x_then = x_then + pseudo_inverse(self.operator, y - self.operator.forward(x_then))
            if then.sigma == 0 or again + 1 == self.resample:
                break
            x = kept * x_then + sqrt(now.sigma**2 - (kept * then.sigma) ** 2) * draw()
            x0 = denoise(x, now)
        return x_then


def _ancestral(x: Tensor, x0: Tensor, now: Level, then: Level, draw: Callable[[], Tensor]) -> Tensor:
    """Return a draw from q(x' | x, x₀), the reverse of the forward process."""
    if then.sigma == 0:
        return x0
    kept = then.sigma / now.sigma * exp(now.lam - then.lam)
    unknown = then.sigma * sqrt(-expm1(2 * (now.lam - then.lam)))
    return kept * x + (then.alpha - kept * now.alpha) * x0 + unknown * draw()
