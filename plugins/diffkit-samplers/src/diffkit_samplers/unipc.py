"""The unified predictor-corrector framework."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from diffkit import DiffkitError, Level
from diffkit_samplers.dpmpp_3m import lower_at_the_end
from diffkit_samplers.multistep import Multistep
from diffkit_samplers.orders import chosen


class UniPC(Multistep):
    """UniPC: the linear part of the flow is solved exactly, x_0 is a polynomial in λ, and each step is taken again.

    With h = λ' - λ, r_j = (λ_j - λ)/h and D_j other estimates, the latest first, a step by p estimates is

        x' = (σ'/σ) x - α' (exp(-h) - 1) D - α' B(h) Σ_j a_j (D_j - D)/r_j.

    The a_j make it exact for D a polynomial in λ of degree p-1, and B cancels; except that with one other estimate the
    authors take a = ½ instead. Then B is the method: -h for ``bh1``, exp(-h) - 1 for ``bh2``. The corrector takes the
    step again with the estimate at its end as one more, which costs no evaluation and raises the order by one.

    Zhao et al., "UniPC: A Unified Predictor-Corrector Framework for Fast Sampling of Diffusion Models" (2023),
    algorithms 1 and 2 and section 4.1, for x_0. Order ``order`` + 1 with one evaluation a step, ``order`` without the
    corrector: with order=1 that is ``ddim``, with order=2 and ``bh2`` it is ``dpmpp_2m``. The last
    steps to σ=0 look at no more estimates than there are steps left, as in the authors' code: λ grows without bound.

    Args:
        steps: the number of steps.
        order: p, from 1 to 3; none is 2. The first steps look at the estimates there are.
        variant: B.
        corrector: whether each step is taken again.
    """

    extra = 1

    def __init__(
        self,
        steps: int = 20,
        order: int | None = None,
        variant: Literal["bh1", "bh2"] = "bh2",
        corrector: bool = True,
    ) -> None:
        super().__init__(steps, chosen(order, 2, 3, steps), corrector)
        if variant not in ("bh1", "bh2"):
            raise DiffkitError(f"variant={variant!r} is not a B(h) of UniPC; give bh1 or bh2")
        self.variant = variant

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return λ."""
        return lam

    def orders(self, path: Sequence[Level]) -> list[int]:
        """Return how many estimates each step looks at: fewer on the last steps to σ=0."""
        return lower_at_the_end(super().orders(path), path)

    def _integrals(self, now: Tensor, then: Tensor, phi_then: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
        b = super()._integrals(now, then, phi_then, nodes, there)
        two = there.sum(1) == 2
        h, pair = (then - now)[two], nodes[two, :2]
        gain = -torch.expm1(-h)
        share = (h if self.variant == "bh1" else gain) / 2
        start = pair == now[two, None]
        other = share[:, None] * h[:, None] / (pair - now[two, None])  # infinite at the start, whose weight is the rest
        b[two, :2] = torch.where(start, gain[:, None] - other.flip(1), other)
        return b
