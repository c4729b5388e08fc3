"""DPM-Solver++(2M)."""

from collections.abc import Sequence
from math import expm1
from typing import Any

from torch import Tensor

from diffkit import Level, Point, StepSampler


class DPMpp2M(StepSampler):
    """DPM-Solver++(2M): the linear part of the flow is solved exactly, and x_0 extrapolated from the step before.

    With h = λ' - λ, and r the step before over h,

        x' = (σ'/σ) x - α' (exp(-h) - 1) D,        D = x_0 + (x_0 - x_0 of the step before) / (2r).

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), algorithm 2.
    Order 2 with one evaluation a step; D = x_0 in the first step and in the last, to σ=0, where h is infinite.
    """

    history = 1

    def step(self, x: Tensor, x0: Tensor, now: Level, then: Level, *, past: Sequence[Point], **_: Any) -> Tensor:
        """Return the sample at level ``then``."""
        h = then.lam - now.lam
        gain = -then.alpha * expm1(-h)
        x = (then.sigma / now.sigma) * x
        if not past or then.sigma == 0:
            return x.add_(x0, alpha=gain)
        before, _, x0_before = past[-1]
        extra = gain * h / (2 * (now.lam - before.lam))
        return x.add_(x0, alpha=gain + extra).add_(x0_before, alpha=-extra)
