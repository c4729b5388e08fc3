"""DPM-Solver++ on the reverse SDE, one step at a time."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, expm1, sqrt
from typing import Any, NamedTuple

from torch import Tensor

from diffkit import Level, StepSampler, levels_at, scaled, summed
from diffkit_samplers.ancestral import not_negative, towards_data, unknown_share
from diffkit_samplers.linear import Weights


class Halves(NamedTuple):
    """One step: the level in its middle, the weights of x and x_0 there, and those of x_m, x_0 and D_m after."""

    middle: Level
    first: Weights
    second: Weights


class DPMppSDE(StepSampler):
    """The estimate in the middle of a step, in λ, is taken for the whole step of a reverse SDE.

    With h = λ' - λ, k = exp(-(1 + η) h/2), z_m and z' = x'/α' half-way and at the end, n_1 and n_2 fresh noise,

        z_m = (x/α) k + (1 - k) D + s_m √(1 - exp(-η h)) n_1,
        z'  = (z_m - (1 - k) D) k + (1 - k²) D_m + s' √(1 - exp(-η h)) n_2,

    so that the noise of the first half goes on into the whole, and both are exact for known x_0. Crowson, k-diffusion
    (2022), ``sample_dpmpp_sde`` with r = ½, where the two come from a Brownian path in σ; on Lu et al., "DPM-Solver++"
    (2022), algorithm 1. Order 2 in distribution; with η=0 it is ``dpmpp_2s``. Two evaluations a step, but one in the
    last, to σ=0, which is x_0.

    Args:
        steps: the number of steps.
        eta: η: 0 is the probability flow, 1 the reverse of the forward process.
    """

    def __init__(self, steps: int = 20, eta: float = 1.0) -> None:
        super().__init__(steps)
        not_negative(eta=eta)
        self.eta = eta

    def prepare(self, path: Sequence[Level]) -> Sequence[Halves | None]:
        """Return the weights of each step; none where it ends at clean data."""
        towards_data(path)
        inner = [(now, then) for now, then in pairwise(path) if then.sigma]
        middles = levels_at([(now.lam + then.lam) / 2 for now, then in inner], like=path[0].tensor)
        plans = [self._halves(now, at, then) for (now, then), at in zip(inner, middles, strict=True)]
        return [*plans, *[None] * (len(path) - 1 - len(plans))]

    def _halves(self, now: Level, at: Level, then: Level) -> Halves:
        half = then.lam - at.lam
        kept, gain = exp(-self.eta * half), -expm1(-(1 + self.eta) * half)
        noise = sqrt(unknown_share(now, at, self.eta))
        onward = then.sigma / at.sigma * kept
        return Halves(
            at,
            Weights((at.sigma / now.sigma * kept, at.alpha * gain), at.sigma * noise),
            Weights((onward, -onward * at.alpha * gain, then.alpha * gain * (2 - gain)), then.sigma * noise),
        )

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        plan: Halves | None,
        denoise: Callable[[Tensor, Level], Tensor],
        draw: Callable[[], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        if plan is None:
            return scaled(x0, then.alpha)
        at, first, second = plan
        middle = summed(first.terms, (x, x0))
        if first.noise:
            middle.add_(draw(), alpha=first.noise)
        x = summed(second.terms, (middle, x0, denoise(middle, at)))
        return x.add_(draw(), alpha=second.noise) if second.noise else x
