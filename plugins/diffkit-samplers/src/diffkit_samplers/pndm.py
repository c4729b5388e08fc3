"""The pseudo numerical method, with a warm start by Runge and Kutta's."""

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from diffkit import Level, Point
from diffkit_samplers.ipndm import IPNDM
from diffkit_samplers.rk4 import RK4
from diffkit_samplers.staged import Stages, climb


class PNDM(IPNDM):
    """Three steps of Runge and Kutta's, then the linear multistep method (PLMS) that needs four past ε.

        z' = z + (s' - s) (55 ε - 59 ε₋₁ + 37 ε₋₂ - 9 ε₋₃)/24,        z = x/α, s = σ/α.

    Liu et al., "Pseudo Numerical Methods for Diffusion Models on Manifolds" (2022), section 3.3. Their first
    steps combine ε at half-way; here they are those of ``rk4``, of the same order and as many evaluations, which stay
    bounded from any noise level. Order 2; 4 where the grid is uniform in s. Four evaluations in each of the first three
    steps, one in those after and in the last, to σ=0.
    """

    def prepare(self, path: Sequence[Level]) -> list[Any]:
        """Return the stages of the first three steps and the weights of the others."""
        plans = super().prepare(path)
        warm = [plan for plan in RK4().prepare(path[:4]) if plan.inner]
        return [*warm, *plans[len(warm) :]]

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        plan: Any,
        denoise: Callable[[Tensor, Level], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        if isinstance(plan, Stages):
            return climb(plan, x, x0, denoise)
        return super().step(x, x0, now, then, past=past, plan=plan)
