"""Karras's DPM-2."""

from diffkit_samplers.staged import Number, Stage, Staged


class DPM2(Staged):
    """The midpoint method in log σ: the slope in the middle of a step, in λ, is taken for the whole step.

    With z = x/α, s = σ/α and m = √(s s'),

        z_m = z + (m - s) (z - D)/s,        z' = z + (s' - s) (z_m - D_m)/m.

    It is DPM-Solver-2 of Lu et al., "DPM-Solver: A Fast ODE Solver for Diffusion Probabilistic Model Sampling in Around
    10 Steps" (2022), algorithm 1, and the second-order method of k-diffusion after Karras et al. (2022). Order 2; two
    evaluations a step, but one in the last, to σ=0, which is Euler's.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return the middle and the end."""
        middle = (s * s_then) ** 0.5
        turn = (s - s_then) / middle
        return [(middle, [1 - middle / s]), (s_then, [-turn * (1 - middle / s), turn])]
