"""Multistep methods in ε: the noise as a polynomial through that of past points.

With z = x/α and s = σ/α the probability flow is dz/ds = ε, whatever the schedule, where ε = (x - α D)/σ at each point:

    z' = z + Σ_j c_j ε_j,        c_j = ∫_s^s' ℓ_j ds,

with ℓ_j Lagrange's basis on the points. In what coordinate ε is a polynomial is what such methods differ in. A step is
a sum of past x and past estimates, whose weights depend on the levels alone.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, Point, StepSampler, summed
from diffkit_samplers.linear import column
from diffkit_samplers.multistep import NODES, WEIGHTS, lagrange


class EpsMultistep(StepSampler):
    """What these methods share: weights for all steps at once, and the sums. No coordinate is asked for at s=0.

    Args:
        steps: the number of steps.
        order: through how many points the polynomial goes; in the first steps, through those there are.
    """

    def __init__(self, steps: int, order: int) -> None:
        super().__init__(steps)
        self.order, self.history = order, order - 1

    def coordinate(self, s: Tensor) -> Tensor:
        """Return that in which ε is a polynomial, at ``s`` (float64), strictly monotonic."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinate; define coordinate()")

    def integrals(self, s: Tensor, s_then: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
        """Return c_j ``(steps, k)`` of steps from ``s`` to ``s_then`` with points at those ``nodes`` that are there."""
        half = (s_then - s)[:, None] / 2
        basis = lagrange(self.coordinate(nodes), self.coordinate(s[:, None] + half * (1 + NODES)), there)
        return half * (basis @ WEIGHTS)

    def prepare(self, path: Sequence[Level]) -> list[Any]:
        """Return for each step the weights of x and of the estimate at each point, the latest first."""
        alpha, sigma = (torch.from_numpy(column(path, name)) for name in ("alpha", "sigma"))
        s, places = sigma / alpha, torch.arange(len(path) - 1)[:, None] - torch.arange(self.order)
        points, there = places.clamp(min=0), places >= 0
        shares = alpha[1:, None] * self.integrals(s[:-1], s[1:], s[points], there) / sigma[points]
        of_x0 = -shares * alpha[points]
        shares[:, 0] += alpha[1:] / alpha[:-1]
        return torch.stack((shares, of_x0), 2).flatten(1).tolist()

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, past: Sequence[Point], plan: Any, **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        return summed(plan, [x, x0, *[of for point in reversed(past) for of in (point.x, point.x0)]])
