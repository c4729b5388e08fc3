"""Heun's method on the probability flow."""

from diffkit_samplers.runge_kutta import explicit
from diffkit_samplers.staged import Number, Stage, Staged

TRAPEZIUM = ((1.0,), (1 / 2, 1 / 2))


class Heun(Staged):
    """Heun's method on the probability-flow ODE in the coordinates of rectified flow.

    With y and τ those of :class:`~diffkit_samplers.euler.Euler`, the slope (y - D)/τ is averaged over both ends of a
    step:

        y₁ = y + (τ' - τ) (y - D(y))/τ,        y' = ½ (y + y₁) + ½ (τ' - τ) (y₁ - D(y₁))/τ'.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), algorithm 1, step in σ/α
    instead. Where that is large their predictor goes astray and the error of few steps is several times larger; τ stays
    below 1. Order 2; two evaluations a step, but one in the last, to σ=0, which is Euler's.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return the look at the end, and the end."""
        return explicit(TRAPEZIUM, s, s_then)
