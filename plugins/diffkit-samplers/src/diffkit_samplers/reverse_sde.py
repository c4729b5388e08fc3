"""Stochastic multistep methods: a reverse SDE solved exactly for a polynomial through past estimates.

With z = x/α, s = σ/α = exp(-λ) and any φ for which φ(s)/s does not fall as s grows, there is a reverse SDE whose
marginals are those of the forward process (Cui et al., "Elucidating the Solution Space of Extended Reverse-Time SDE for
Diffusion Models", 2023). A step of it from s to s' is

    z' = r z + ∫_r^1 D(u) dw + √(s'² - r² s²) n,        w = φ(s')/φ(u),        r = φ(s')/φ(s),

with u between s and s' and n fresh noise. φ = s is the probability flow, φ = s² the reverse of the forward process.

Put the polynomial through past estimates D_j for D, in a coordinate c(u), and the integral is Σ_j b_j D_j. The b_j do
for every polynomial what the integral does; with v the distance from the end of the step over its length, in c,

    Σ_j b_j v_j^k = ∫_r^1 v^k dw        for k below the number of estimates.
"""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, Point, StepSampler
from diffkit_samplers.ancestral import towards_data
from diffkit_samplers.multistep import Weights, change, corrected, weighted


class ReverseSDE(StepSampler):
    """What these methods share: weights for all steps at once, and the sums. The last step, to σ=0, is x_0.

    A corrected step is taken again with the estimate at its end among the nodes, once the next step needs that anyway,
    and with the same noise.

    Args:
        steps: the number of steps.
        order: how many estimates a step looks at; the first steps look at those there are.
        corrector_order: how many a correction looks at, that at the end of the step included; 0 is none.
    """

    def __init__(self, steps: int, order: int, corrector_order: int = 0) -> None:
        super().__init__(steps)
        self.order, self.corrector_order = order, corrector_order
        self.history = max(order, corrector_order - 1) if corrector_order else order - 1

    def rate(self, lam: Tensor) -> Tensor:
        """Return ρ of φ = s^ρ, 1 or more, for steps between levels ``lam``."""
        raise NotImplementedError(f"{type(self).__name__} has no noise; define rate(), or decay() and moments()")

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return c at levels ``lam`` (float64): λ."""
        return lam

    def decay(self, lam: Tensor) -> Tensor:
        """Return -log r for each step between levels ``lam``."""
        return self.rate(lam) * lam.diff()

    def moments(self, lam: Tensor, decay: Tensor, count: int) -> Tensor:
        """Return ∫ v^k dw for k < ``count`` and each step, ``(steps, count)``.

        With c = λ and φ = s^ρ, w is exp(-a v) with a = -log r, and the moment an incomplete gamma function.
        """
        k = torch.arange(count, dtype=torch.float64)
        a = decay[:, None]
        return torch.exp(torch.lgamma(k + 1) - k * a.log()) * torch.special.gammainc(k + 1, a)

    def prepare(self, path: Sequence[Level]) -> Sequence[Weights]:
        """Return the weights of each step, and those of the correction of the step before."""
        towards_data(path)
        noisy = path if path[-1].sigma else path[:-1]
        lam = torch.tensor([level.lam for level in noisy], dtype=torch.float64)
        decay = self.decay(lam)
        kept = torch.exp(lam.diff() - decay).tolist()  # r s / s'
        fresh = (-torch.expm1(2 * (lam.diff() - decay))).clamp(min=0).sqrt().tolist()
        b = self._integrals(lam, decay, self.order, ahead=0)
        plans = [
            Weights(then.sigma / now.sigma * kept[i], _times(then.alpha, b[i]), then.sigma * fresh[i])
            for i, (now, then) in enumerate(pairwise(noisy))
        ]
        if len(noisy) < len(path):
            plans.append(Weights(0.0, (path[-1].alpha,), 0.0))
        if self.corrector_order:
            again = self._integrals(lam, decay, self.corrector_order, ahead=1)
            for i, at in enumerate(noisy[1 : len(plans)]):
                plans[i + 1] = plans[i + 1]._replace(corrector=_times(at.alpha, change(b[i], again[i])))
        return plans

    def _integrals(self, lam: Tensor, decay: Tensor, order: int, ahead: int) -> list[list[float]]:
        """Return b_j of each step for ``order`` nodes, the latest ``ahead`` levels beyond its start, or as many as are.

        Where a node is missing, a row of the identity says that its b_j is 0.
        """
        c, k = self.coordinate(lam), torch.arange(order)
        nodes = torch.arange(len(lam) - 1)[:, None] + ahead - k
        there = nodes >= 0
        v = (c[1:, None] - c[nodes.clamp(min=0)]) / c.diff()[:, None]
        powers = torch.where(there[:, None] & there[:, :, None], v[:, None] ** k[:, None], torch.eye(order).to(v))
        b = torch.linalg.solve(powers, self.moments(lam, decay, order) * there)
        return [row[: i + 1 + ahead] for i, row in enumerate(b.tolist())]

    def correct(self, x: Tensor, x0: Tensor, now: Level, *, past: Sequence[Point], plan: Weights, **_: Any) -> Tensor:
        """Return the sample at level ``now``, the step to it taken again with its own estimate among the nodes."""
        return corrected(plan, x, x0, past)

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        plan: Weights,
        draw: Callable[[], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        x = weighted(plan, x, x0, past)
        return x.add_(draw(), alpha=plan.noise) if plan.noise else x


def _times(alpha: float, weights: Iterable[float]) -> tuple[float, ...]:
    return tuple(alpha * weight for weight in weights)
