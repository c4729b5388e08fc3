"""Multistep methods: the estimate as a polynomial through past estimates, and the flow solved exactly for it.

With z = x/α and s = σ/α = exp(-λ) the probability flow is dz/ds = (z - D)/s, whatever the schedule, so that

    z' = (s'/s) z + ∫_λ^λ' exp(l - λ') D(l) dl.

Put the polynomial Σ_j ℓ_j(φ(l)) D_j through past estimates for D, with ℓ_j Lagrange's basis on the nodes φ(λ_j), and a
step is a sum of x and of estimates whose weights depend on the levels alone:

    b_j = ∫_λ^λ' exp(l - λ') ℓ_j(φ(l)) dl.

The coordinate φ in which D is taken for a polynomial is what such methods differ in.
"""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffkit import Level, Point, StepSampler
from diffkit_samplers.staged import column

NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(16))
"""Gauss and Legendre's quadrature on [-1, 1]."""


class Weights(NamedTuple):
    """One step: the weights of x, of the estimates from the latest back, and of noise; and what corrects the last step.

    A step taken again differs from the first in its weights of estimates alone, so that the corrector is by how much:
    that of the estimate at its end first.
    """

    x: float
    x0: Sequence[float]
    noise: float = 0.0
    corrector: Sequence[float] = ()


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
        self.order, self.corrector = order, corrector
        self.history = max(order, order - 1 + self.extra) if corrector else order - 1

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return φ at levels ``lam`` (float64), strictly monotonic; it may be infinite at λ=∞ only."""
        raise NotImplementedError(f"{type(self).__name__} has no coordinate; define coordinate()")

    def orders(self, path: Sequence[Level]) -> list[int]:
        """Return the number of estimates that each step looks at."""
        return [min(self.order, i + 1) for i in range(len(path) - 1)]

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step, and those that correct the step before."""
        orders = self.orders(path)
        again = [k + self.extra for k in orders[:-1]] if self.corrector else []
        lam, alpha, sigma = (column(path, name) for name in ("lam", "alpha", "sigma"))
        rows = self._shares(lam, alpha, orders, again)
        kept, n = (sigma[1:] / sigma[:-1]).tolist(), len(orders)
        correctors = [(), *map(change, rows, rows[n:])] if again else [()] * n
        return [Weights(*row) for row in zip(kept, rows, [0.0] * n, correctors, strict=False)]

    def _shares(self, lam: Tensor, alpha: Tensor, orders: list[int], again: list[int]) -> list[list[float]]:
        """Return the weights of the estimates in each step, then those in the first of them taken ``again``."""
        phi, looks, most = self.coordinate(lam), torch.tensor(orders + again), max(orders + again)
        step = torch.cat((torch.arange(len(orders)), torch.arange(len(again))))
        ahead = torch.arange(len(step)) >= len(orders)  # the end of the step is a node, too
        nodes = phi[((step + ahead)[:, None] - torch.arange(most)).clamp(min=0)]
        while True:
            there = torch.arange(most) < looks[:, None]
            b = self._integrals(lam[step], lam[step + 1], phi[step + 1], nodes, there)
            unsteady = (b.abs().sum(1) > self.amplification * b.sum(1).abs()) & (looks > 1)
            if not unsteady.any():
                break
            looks -= unsteady.long()
        found = (alpha[step + 1, None] * b).tolist()
        return [row[:k] for row, k in zip(found, looks.tolist(), strict=True)]

    def _integrals(self, now: Tensor, then: Tensor, phi_then: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
        """Return b_j ``(steps, order)``; all the weight is at the end of a step to λ=∞, where D is extrapolated to."""
        clean = torch.isinf(then)
        half = (then.masked_fill(clean, 0) - now.masked_fill(clean, 0)) / 2
        at = now[:, None] + half[:, None] * (1 + NODES)
        kernel = half[:, None] * WEIGHTS * torch.exp(half[:, None] * (NODES - 1))
        inner = (lagrange(nodes, self.coordinate(at), there) * kernel[:, None]).sum(2)
        if not clean.any():
            return inner
        return torch.where(clean[:, None], lagrange(nodes, phi_then[:, None], there)[..., 0], inner)

    def correct(self, x: Tensor, x0: Tensor, now: Level, *, past: Sequence[Point], plan: Weights, **_: Any) -> Tensor:
        """Return the sample at level ``now``, the step to it taken again with its own estimate among the nodes."""
        return corrected(plan, x, x0, past)

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


def corrected(weights: Weights, x: Tensor, x0: Tensor, past: Sequence[Point]) -> Tensor:
    """Return ``x``, where a step ended, as it would be had that step looked at the estimate ``x0`` there."""
    if not weights.corrector:
        return x
    result = torch.add(x, x0, alpha=weights.corrector[0])
    for i in range(1, len(weights.corrector)):
        result.add_(past[-i].x0, alpha=weights.corrector[i])
    return result


def change(old: Sequence[float], new: Sequence[float]) -> list[float]:
    """Return by how much weights change, where ``new`` has one more: that of the estimate at the end of the step."""
    return [there - here for here, there in zip_longest([0.0, *old], new, fillvalue=0.0)]


def lagrange(nodes: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """Return Lagrange's basis ``(steps, k, q)`` on the ``nodes`` ``(steps, k)`` that are there, at ``(steps, q)``.

    It is 0 for a node that is not.
    """
    own = torch.eye(nodes.shape[1], dtype=torch.bool)
    gaps = nodes[:, :, None] - nodes[:, None]
    factors = (at[:, None, None] - nodes[:, None, :, None]) / gaps[..., None]
    factors.masked_fill_((own | ~there[:, None])[..., None], 1.0)
    return factors.prod(2).masked_fill_(~there[..., None], 0.0)
