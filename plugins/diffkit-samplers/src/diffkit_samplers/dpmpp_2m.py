"""DPM-Solver++(2M)."""

from collections.abc import Sequence
from itertools import pairwise
from math import expm1

from diffkit import Level
from diffkit_samplers.linear import Linear, Weights


class DPMpp2M(Linear):
    """DPM-Solver++(2M): the linear part of the flow is solved exactly, and x_0 extrapolated from the step before.

    With h = λ' - λ, and r the step before over h,

        x' = (σ'/σ) x - α' (exp(-h) - 1) D,        D = x_0 + (x_0 - x_0 of the step before) / (2r).

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), algorithm 2.
    Order 2 with one evaluation a step; D = x_0 in the first step and in the last, to σ=0, where h is infinite.
    """

    history = 1

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step."""
        plans, before = [], None
        for now, then in pairwise(path):
            h = then.lam - now.lam
            gain = -then.alpha * expm1(-h)
            extra = gain * h / (2 * (now.lam - before.lam)) if before and then.sigma else 0.0
            plans.append(Weights((then.sigma / now.sigma, gain + extra, -extra)))
            before = now
        return plans
