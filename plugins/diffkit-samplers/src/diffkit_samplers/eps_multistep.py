"""Multistep methods in ε: the noise as a polynomial through that of past points.

With z = x/α and s = σ/α the probability flow is dz/ds = ε, whatever the schedule, where ε = (x - α D)/σ at each point:

    z' = z + Σ_j c_j ε_j,        c_j = ∫_s^s' ℓ_j ds,

with ℓ_j Lagrange's basis on the points. In what coordinate ε is a polynomial is what such methods differ in. A step is
a sum of past x and past estimates, whose weights depend on the levels alone.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, Point, StepSampler
from diffkit_samplers.multistep import NODES, WEIGHTS, lagrange


class Pairs(NamedTuple):
    """One step: the weights of x and of the estimate, and such pairs for past points from the latest back."""

    x: float
    x0: float
    past: list[tuple[float, float]]


class EpsMultistep(StepSampler):
    """What these methods share: weights for all steps at once, and the sums. No coordinate is asked for at s=0.

    Args:
        steps: the number of steps.
        order: through how many points the polynomial goes; in the first steps, through those there are.
    """

    highest = 4
    """The largest order that is offered."""

    def __init__(self, steps: int = 20, order: int = 3) -> None:
        super().__init__(steps)
        if not 1 <= order <= self.highest:
            raise DiffkitError(f"order={order} is not offered; give one from 1 to {self.highest}, such as order=3")
        self.order, self.history = order, order - 1

    def coordinate(self, s: Tensor) -> Tensor:
        """Return that in which ε is a polynomial, at ``s`` (float64), strictly monotonic."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinate; define coordinate()")

    def integrals(self, s: Tensor, s_then: Tensor, nodes: Tensor) -> Tensor:
        """Return c_j ``(steps, k)`` of steps from ``s`` to ``s_then`` with points at ``nodes`` ``(steps, k)``."""
        half = (s_then - s)[:, None] / 2
        basis = lagrange(self.coordinate(nodes), self.coordinate(s[:, None] + half * (1 + NODES)))
        return half * (basis @ WEIGHTS)

    def prepare(self, path: Sequence[Level]) -> list[Any]:
        """Return the weights of each step."""
        s = torch.tensor([level.ratio for level in path], dtype=torch.float64)
        n, plans = len(path) - 1, []
        for k in range(1, min(self.order, n) + 1):
            steps = torch.arange(k - 1, n if k == self.order else k)
            rows = self.integrals(s[steps], s[steps + 1], s[steps[:, None] - torch.arange(k)]).tolist()
            plans += [pairs(path, i, row) for i, row in zip(steps.tolist(), rows, strict=True)]
        return plans

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, past: Sequence[Point], plan: Any, **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        result = torch.mul(x, plan.x).add_(x0, alpha=plan.x0)
        for (a, b), point in zip(plan.past, reversed(past), strict=False):
            result.add_(point.x, alpha=a).add_(point.x0, alpha=b)
        return result


def pairs(path: Sequence[Level], i: int, integrals: Sequence[float]) -> Pairs:
    """Return the weights of step ``i`` from those of ε."""
    alpha = path[i + 1].alpha
    points = [path[i - j] for j in range(len(integrals))]
    (x, x0), *past = [(alpha * c / at.sigma, -alpha * c / at.ratio) for c, at in zip(integrals, points, strict=True)]
    return Pairs(alpha / path[i].alpha + x, x0, past)
