"""Multistep methods: the estimate as a polynomial through past estimates, and the flow solved exactly for it.

With z = x/α and s = σ/α = exp(-λ) the probability flow is dz/ds = (z - D)/s, whatever the schedule, so that

    z' = (s'/s) z + ∫_λ^λ' exp(l - λ') D(l) dl.

Put the polynomial Σ_j ℓ_j(φ(l)) D_j through past estimates for D, with ℓ_j Lagrange's basis on the nodes φ(λ_j), and a
step is a sum of x and of estimates whose weights depend on the levels alone:

    b_j = ∫_λ^λ' exp(l - λ') ℓ_j(φ(l)) dl.

The coordinate φ in which D is taken for a polynomial is what such methods differ in.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffkit import DiffkitError, Level, Point, StepSampler

NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(16))
"""Gauss and Legendre's quadrature on [-1, 1]."""


class Weights(NamedTuple):
    """One step: that of x, and those of the estimates from the latest back."""

    x: float
    x0: tuple[float, ...]
    corrector: "Weights | None" = None


class Multistep(StepSampler):
    """What these methods share: weights for all steps at once, and the sums.

    The corrector costs no evaluation: once the estimate at the end of a step is known, which the next step needs
    anyway, the step is taken again with it as one more node.

    Args:
        steps: the number of steps.
        order: how many estimates a step looks at; the first steps look at those there are.
        corrector: whether each step is taken again.
    """

    extra = 0
    """How many more estimates the corrector looks at than the step it takes again."""
    amplification = float("inf")
    """A step looks at fewer estimates where more would amplify their rounding errors beyond this."""

    def __init__(self, steps: int = 20, order: int = 2, corrector: bool = False) -> None:
        super().__init__(steps)
        if order < 1:
            raise DiffkitError(f"order={order} is not a number of estimates; give 1 or more, such as order=2")
        self.order, self.corrector = order, corrector
        self.history = max(order - 1, 1, order - 1 + self.extra) if corrector else order - 1

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return φ at levels ``lam`` (float64), strictly monotonic; it may be infinite at λ=∞ only."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinate; define coordinate()")

    def orders(self, path: Sequence[Level]) -> list[int]:
        """Return the number of estimates that each step looks at."""
        return [min(self.order, i + 1) for i in range(len(path) - 1)]

    def prepare(self, path: Sequence[Level]) -> Sequence[Weights]:
        """Return the weights of each step, and those of the corrector of the step before."""
        lam = torch.tensor([level.lam for level in path], dtype=torch.float64)
        phi = self.coordinate(lam)
        orders = self.orders(path)
        predictors = self._weights(path, lam, phi, orders, ahead=0)
        if not self.corrector:
            return predictors
        again = [k + self.extra for k in orders[:-1]]
        correctors = self._weights(path[:-1], lam[:-1], phi[:-1], again, ahead=1)
        return [
            predictor if corrector is None else predictor._replace(corrector=corrector)
            for predictor, corrector in zip(predictors, [None, *correctors], strict=True)
        ]

    def _weights(
        self, path: Sequence[Level], lam: Tensor, phi: Tensor, orders: Sequence[int], ahead: int
    ) -> list[Weights]:
        """Return the weights of steps whose nodes reach ``ahead`` levels beyond their start."""
        n = len(path) - 1
        now, then = lam[:-1], lam[1:]
        b: list[list[float]] = [[]] * n
        looks = torch.tensor(orders)
        for k in range(max(orders, default=0), 0, -1):
            steps = (looks == k).nonzero().flatten()
            nodes = phi[steps[:, None] + ahead - torch.arange(k)]
            found = self._integrals(now[steps], then[steps], phi[steps + 1], nodes)
            steady = found.abs().sum(1) <= self.amplification * found.sum(1).abs() if k > 1 else torch.ones_like(steps)
            looks[steps] -= (steady == 0).long()
            for i, row, kept in zip(steps.tolist(), found.tolist(), steady.tolist(), strict=True):
                if kept:
                    b[i] = row
        return [
            Weights(there.sigma / here.sigma, tuple(there.alpha * value for value in row))
            for here, there, row in zip(path, path[1:], b, strict=False)
        ]

    def _integrals(self, now: Tensor, then: Tensor, phi_then: Tensor, nodes: Tensor) -> Tensor:
        """Return b_j ``(steps, order)``; all the weight is at the end of a step to λ=∞, where D is extrapolated to."""
        clean = torch.isinf(then)
        half = (then.masked_fill(clean, 0) - now.masked_fill(clean, 0)) / 2
        at = now[:, None] + half[:, None] * (1 + NODES)
        kernel = half[:, None] * WEIGHTS * torch.exp(half[:, None] * (NODES - 1))
        inner = (lagrange(nodes, self.coordinate(at)) * kernel[:, None]).sum(2)
        if not clean.any():
            return inner
        return torch.where(clean[:, None], lagrange(nodes, phi_then[:, None])[..., 0], inner)

    def correct(self, x: Tensor, x0: Tensor, now: Level, *, past: Sequence[Point], plan: Weights, **_: Any) -> Tensor:
        """Return the sample at level ``now``, the step to it taken again with its own estimate among the nodes."""
        if plan.corrector is None:
            return x
        return weighted(plan.corrector, past[-1].x, x0, past)

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, past: Sequence[Point], plan: Weights, **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        return weighted(plan, x, x0, past)


def weighted(weights: Weights, x: Tensor, x0: Tensor, past: Sequence[Point]) -> Tensor:
    """Return the sum of ``x``, ``x0`` and the estimates before it by their weights."""
    result = torch.mul(x, weights.x).add_(x0, alpha=weights.x0[0])
    for i in range(1, len(weights.x0)):
        result.add_(past[-i].x0, alpha=weights.x0[i])
    return result


def lagrange(nodes: Tensor, at: Tensor) -> Tensor:
    """Return Lagrange's basis ``(steps, k, q)`` on nodes ``(steps, k)`` at places ``(steps, q)``."""
    own = torch.eye(nodes.shape[1], dtype=torch.bool)[:, :, None]
    gaps = (nodes[:, :, None] - nodes[:, None])[..., None]
    return torch.where(own, 1.0, (at[:, None, None] - nodes[:, None, :, None]) / gaps).prod(2)
