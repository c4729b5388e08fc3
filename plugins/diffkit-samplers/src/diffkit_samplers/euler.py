"""Euler's method on the probability flow."""

from diffkit_samplers.staged import Number, Stage, Staged


class Euler(Staged):
    """Euler's method on the probability-flow ODE in the coordinates of rectified flow.

    With τ = σ/(α + σ) and y = x/(α + σ) every schedule becomes y = (1 - τ) x_0 + τ ε, and the flow is

        dy/dτ = ε - x_0 = (y - x_0) / τ,

    so a step is y' = (τ'/τ) y + (1 - τ'/τ) x_0. That is exactly ``ddim``, whatever the coordinates. Order 1.

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), eq. 13.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return the end."""
        return [(s_then, [1 - s_then / s])]
