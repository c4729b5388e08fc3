"""Multistep methods: the estimate as a polynomial through past estimates, and the flow solved exactly for it.

With z = x/α and s = σ/α = exp(-λ) the probability flow is dz/ds = (z - D)/s, whatever the schedule, so that

    z' = (s'/s) z + ∫_λ^λ' exp(l - λ') D(l) dl.

Put the polynomial Σ_j ℓ_j(φ(l)) D_j through past estimates for D, with ℓ_j Lagrange's basis on the nodes φ(λ_j), and a
step is a sum of x and of estimates whose weights depend on the levels alone:

    b_j = ∫_λ^λ' exp(l - λ') ℓ_j(φ(l)) dl.

The coordinate φ in which D is taken for a polynomial is what such methods differ in.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from diffkit import Level
from diffkit_samplers.linear import Linear, Weights, column, corrections

NODES, WEIGHTS = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(16))
"""Gauss and Legendre's quadrature on [-1, 1]."""


class Multistep(Linear):
    """What these methods share: weights for all steps at once.

    The corrector costs no evaluation: once the estimate at the end of a step is known, which the next step needs
    anyway, the step is taken again with it as one more node. That changes x by a sum of estimates, so that the next
    step is still one sum, from where the step before first ended.

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
        """Return the weights of each step, the correction of the step before among them."""
        kept, b, changes = self.weights(path)
        terms = torch.cat((kept[:, None], b + kept[:, None] * changes), 1)
        return list(map(Weights, terms.tolist()))

    def weights(self, path: Sequence[Level]) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of x ``(steps,)``, those of the estimates, and those that correct x before the step.

        The latter two are ``(steps, k)``, from the estimate at the start of the step back, and 0 where none is looked
        at.
        """
        lam, alpha, sigma = (torch.from_numpy(column(path, name)) for name in ("lam", "alpha", "sigma"))
        orders = self.orders(path)
        again = [k + self.extra for k in orders[:-1]] if self.corrector else []
        shares = self._shares(lam, alpha, orders, again)
        b = shares[: len(orders)]
        return sigma[1:] / sigma[:-1], b, corrections(b, shares[len(orders) :]) if again else torch.zeros_like(b)

    def _shares(self, lam: Tensor, alpha: Tensor, orders: list[int], again: list[int]) -> Tensor:
        """Return the weights of the estimates in each step, then those in the first of them taken ``again``."""
        looks, k = torch.tensor(orders + again), torch.arange(self.history + 1)
        step = torch.cat((torch.arange(len(orders)), torch.arange(len(again))))
        ahead = torch.arange(len(step)) >= len(orders)  # the end of the step is a node, too
        phi = self.coordinate(lam)
        about = lam[step], lam[step + 1], phi[step + 1], phi[((step + ahead)[:, None] - k).clamp(min=0)]
        b = self._integrals(*about, k < looks[:, None])
        while True:
            unsteady = (b.abs().sum(1) > self.amplification * b.sum(1).abs()) & (looks > 1)
            if not unsteady.any():
                return alpha[step + 1, None] * b
            looks -= unsteady.long()
            b[unsteady] = self._integrals(*(of[unsteady] for of in about), k < looks[unsteady, None])

    def _integrals(self, now: Tensor, then: Tensor, phi_then: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
        """Return b_j ``(steps, k)``; all the weight is at the end of a step to λ=∞, where D is extrapolated to."""
        clean = torch.isinf(then)
        half = (torch.where(clean, now, then) - now)[:, None] / 2
        kernel = half * WEIGHTS * torch.exp(half * (NODES - 1))
        basis = lagrange(nodes, self.coordinate(now[:, None] + half * (1 + NODES)), there)
        inner = (basis * kernel[:, None]).sum(2)
        if not clean.any():
            return inner
        return torch.where(clean[:, None], lagrange(nodes, phi_then[:, None], there)[..., 0], inner)


def lagrange(nodes: Tensor, at: Tensor, there: Tensor) -> Tensor:
    """Return Lagrange's basis ``(steps, k, q)`` on the ``nodes`` ``(steps, k)`` that are there, at ``(steps, q)``.

    It is 0 for a node that is not.
    """
    missing = ~there
    alone = torch.eye(nodes.shape[1], dtype=torch.bool) | missing[:, None]
    scale = 1 / (nodes[..., None] - nodes[:, None]).masked_fill_(alone, 1).prod(2)
    factors = (at[:, None] - nodes[..., None]).masked_fill_(missing[..., None], 1)
    one = torch.ones_like(factors[:, :1])
    before = torch.cat((one, factors[:, :-1]), 1).cumprod(1)
    after = torch.cat((one, factors[:, 1:].flip(1)), 1).cumprod(1).flip(1)
    return (scale[..., None] * before * after).masked_fill_(missing[..., None], 0)
