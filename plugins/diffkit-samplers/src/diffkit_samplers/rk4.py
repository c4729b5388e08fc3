"""The classical Runge-Kutta method."""

from diffkit_samplers.runge_kutta import explicit
from diffkit_samplers.staged import Number, Stage, Staged

CLASSICAL = ((1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0), (1 / 6, 1 / 3, 1 / 3, 1 / 6))


class RK4(Staged):
    """The classical Runge-Kutta method on the probability flow, in coordinates that stay bounded.

    With k(y, τ) = (y - D)/τ the slope and δ = τ' - τ (see :class:`~diffkit_samplers.euler.Euler`),

        k_1 = k(y, τ),   k_2 = k(y + δ k_1/2, τ + δ/2),   k_3 = k(y + δ k_2/2, τ + δ/2),   k_4 = k(y + δ k_3, τ'),
        y' = y + δ (k_1 + 2 k_2 + 2 k_3 + k_4)/6.

    Kutta, "Beitrag zur näherungsweisen Integration totaler Differentialgleichungen" (1901). Order 4; four evaluations a
    step, but one in the last, to σ=0, which is Euler's.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return both looks at the middle, the one at the end, and the end."""
        return explicit(CLASSICAL, s, s_then)
