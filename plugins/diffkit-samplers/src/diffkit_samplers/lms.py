"""The linear multistep method of Adams and Bashforth."""

from torch import Tensor

from diffkit_samplers.eps_multistep import EpsMultistep
from diffkit_samplers.orders import chosen


class LMS(EpsMultistep):
    """Adams and Bashforth's method on the probability flow in z = x/α and s = σ/α: ε as a polynomial in s.

        z' = z + Σ_j ε_j ∫_s^s' Π_{i≠j} (r - s_i)/(s_j - s_i) dr,

    with the integrals exact for whatever levels (k-diffusion's ``lms`` is the same). Its order is ``order``, with one
    evaluation a step.

    Args:
        steps: the number of steps.
        order: from 1, which is ``ddim``, to 4; none is 4. The first steps are of the order of the points there are.
    """

    def __init__(self, steps: int = 20, order: int | None = None) -> None:
        super().__init__(steps, chosen(order, 4, 4, steps))

    def coordinate(self, s: Tensor) -> Tensor:
        """Return ``s`` itself."""
        return s
