"""DPM-Solver++(2S)."""

from diffkit_samplers.staged import Number, Stage, Staged


class DPMpp2S(Staged):
    """DPM-Solver++(2S): the estimate in the middle of a step, in λ, is taken for the whole step.

    With h = λ' - λ, and λ_m, α_m and σ_m half-way,

        x_m = (σ_m/σ) x - α_m (exp(-h/2) - 1) D,        x' = (σ'/σ) x - α' (exp(-h) - 1) D_m.

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), algorithm 1
    with r = ½. Order 2; two evaluations a step, but one in the last, to σ=0.
    """

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return the middle and the end; exp(-h) is s'/s."""
        middle = (s * s_then) ** 0.5
        return [(middle, [1 - middle / s]), (s_then, [0 * s, 1 - s_then / s])]
