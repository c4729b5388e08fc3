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

from collections.abc import Sequence

import torch
from torch import Tensor

from diffkit import Level
from diffkit_samplers.ancestral import towards_data
from diffkit_samplers.linear import Linear, Weights, column, corrections


class ReverseSDE(Linear):
    """What these methods share: weights for all steps at once, and the sums. The last step, to σ=0, is x_0.

    A corrected step is taken again with the estimate at its end among the nodes, once the next step needs that anyway,
    and with the same noise (see :class:`~diffkit_samplers.multistep.Multistep`).

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
        raise NotImplementedError(f"{type(self).__name__} has no noise; define rate(), or decay() and powers()")

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return c at levels ``lam`` (float64): λ."""
        return lam

    def decay(self, lam: Tensor) -> Tensor:
        """Return -log r for each step between levels ``lam``."""
        return self.rate(lam) * lam.diff()

    def powers(self, lam: Tensor, decay: Tensor, count: int) -> Tensor:
        """Return ∫ v^k dw for k < ``count`` and each step, ``(steps, count)``.

        With c = λ and φ = s^ρ, w is exp(-a v) with a = -log r, and the moment an incomplete gamma function.
        """
        k = torch.arange(count, dtype=torch.float64)
        a = decay[:, None]
        return torch.exp(torch.lgamma(k + 1) - k * a.log()) * torch.special.gammainc(k + 1, a)

    def prepare(self, path: Sequence[Level]) -> Sequence[Weights]:
        """Return the weights of each step, the correction of the step before among them."""
        towards_data(path)
        noisy = path if path[-1].sigma else path[:-1]
        lam, alpha, sigma = (torch.from_numpy(column(noisy, name)) for name in ("lam", "alpha", "sigma"))
        decay = self.decay(lam)
        excess = lam.diff() - decay  # log r s/s'
        kept = sigma[1:] / sigma[:-1] * torch.exp(excess)
        fresh = sigma[1:] * (-torch.expm1(2 * excess)).clamp(min=0).sqrt()
        b = alpha[1:, None] * self._integrals(lam, decay, self.order, ahead=0)
        if self.corrector_order:
            again = alpha[1:, None] * self._integrals(lam, decay, self.corrector_order, ahead=1)
            b = b + kept[:, None] * corrections(b, again[:-1])
        terms = torch.cat((kept[:, None], b), 1)
        last = [] if noisy is path else [Weights((0.0, path[-1].alpha))]
        return [*map(Weights, terms.tolist(), fresh.tolist()), *last]

    def _integrals(self, lam: Tensor, decay: Tensor, order: int, ahead: int) -> Tensor:
        """Return b_j of each step for ``order`` nodes, the latest ``ahead`` levels beyond its start, or as many as are.

        Where a node is missing, a row of the identity says that its b_j is 0.
        """
        c, k = self.coordinate(lam), torch.arange(self.history + 1)
        nodes = torch.arange(len(lam) - 1)[:, None] + ahead - k
        there = (nodes >= 0) & (k < order)
        v = (c[1:, None] - c[nodes.clamp(min=0)]) / c.diff()[:, None]
        powers = (v[:, None] ** k[:, None]).where(there[:, None] & there[:, :, None], torch.eye(len(k)).to(v))
        return torch.linalg.solve(powers, self.powers(lam, decay, len(k)) * there)
