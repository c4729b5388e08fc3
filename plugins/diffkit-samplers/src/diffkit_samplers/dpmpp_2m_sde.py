"""DPM-Solver++(2M) on the reverse SDE."""

from collections.abc import Sequence
from itertools import pairwise
from math import exp, expm1, sqrt

from diffkit import Level
from diffkit_samplers.ancestral import not_negative, towards_data, unknown_share
from diffkit_samplers.linear import Linear, Weights


class DPMpp2MSDE(Linear):
    """The linear part of a reverse SDE is solved exactly, and x_0 extrapolated from the step before.

    With h = λ' - λ, r the step before over h, and n fresh noise,

        x' = (σ'/σ) exp(-η h) x + α' (1 - exp(-(1 + η) h)) D + σ' √(1 - exp(-2η h)) n,
        D  = x_0 + (x_0 - x_0 of the step before) / (2r).

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), section 5, for
    any η, as Crowson, k-diffusion (2022), ``sample_dpmpp_2m_sde`` has it. Order 2 in distribution; with η=0 it is
    ``dpmpp_2m``, and with η=1 its first step is ``ddpm``. One evaluation a step; the last step, to σ=0, is x_0.

    Args:
        steps: the number of steps.
        eta: η: 0 is the probability flow, 1 the reverse of the forward process.
    """

    history = 1

    def __init__(self, steps: int = 20, eta: float = 1.0) -> None:
        super().__init__(steps)
        not_negative(eta=eta)
        self.eta = eta

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step."""
        towards_data(path)
        plans, before = [], None
        for now, then in pairwise(path):
            h = then.lam - now.lam
            gain = -then.alpha * expm1(-(1 + self.eta) * h)
            extra = gain * h / (2 * (now.lam - before.lam)) if before and then.sigma else 0.0
            kept = then.sigma / now.sigma * exp(-self.eta * h)
            noise = then.sigma * sqrt(unknown_share(now, then, self.eta))
            plans.append(Weights((kept, gain + extra, -extra), noise))
            before = now
        return plans
