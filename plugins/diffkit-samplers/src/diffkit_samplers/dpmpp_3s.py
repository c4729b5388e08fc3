"""DPM-Solver++(3S)."""

import numpy as np

from diffkit_samplers.staged import Number, Stage, Staged


class DPMpp3S(Staged):
    """DPM-Solver++(3S): estimates at one and two thirds of a step, in λ, give D its slope.

    With h = λ' - λ, g(h) = 1 - exp(-h) and f(h) = 1 - g(h)/h, in z = x/α,

        z_1 = exp(-h/3) z + g(h/3) D
        z_2 = exp(-2h/3) z + g(2h/3) D + 2 f(2h/3) (D_1 - D)
        z' = exp(-h) z + g(h) D + 3/2 f(h) (D_2 - D).

    Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around 10 Steps" (2022),
    algorithm 2, for x_0 in place of ε as in "DPM-Solver++" (2022). Order 3; three evaluations a step, but one in the
    last, to σ=0.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return both thirds and the end; exp(-h) is s'/s."""
        h = np.log(s / s_then)
        first, second = s * np.exp(-h / 3), s * np.exp(-2 * h / 3)
        g, g_then = 1 - second / s, 1 - s_then / s
        f, f_then = 2 * (1 - g / (2 * h / 3)), 1.5 * (1 - g_then / h)
        return [
            (first, [1 - first / s]),
            (second, [g - f, f]),
            (s_then, [g_then - f_then, 0 * s, f_then]),
        ]
