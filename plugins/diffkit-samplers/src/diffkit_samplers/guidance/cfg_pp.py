"""Guidance that stays on the manifold of the data, as a scale that depends on the noise level."""

from bisect import bisect_right
from itertools import pairwise
from math import exp

import torch

from diffkit import DataSpec, DiffkitError, Level, build
from diffkit.contracts.sampling import Denoise, Grid
from diffkit.contracts.schedule import Schedule
from diffkit_samplers.guidance.contrast import Rule
from diffkit_samplers.guidance.guided import Base
from diffkit_samplers.guidance.interval import refuse_interval


class CFGpp(Rule):
    """CFG++: a step goes to the guided estimate plus the noise of the model without guidance.

    Chung et al., "CFG++: Manifold-constrained Classifier Free Guidance for Diffusion Models" (2025), algorithm 2:
    x' = α' (D_null + w (D_label - D_null)) + σ' ε_null. As ε_null = (x - α D_null)/σ, that is a step of ``ddim`` with
    ordinary guidance of the scale

        w / (1 - exp(λ - λ')),

    which depends on the step: the more steps there are, the larger it is, and there is no limit. So the rule is one of
    a discretisation, here that of ``grid`` with ``steps`` levels. On these ``ddim`` takes the paper's steps exactly;
    between, the scale is interpolated in λ, which makes the rule one for any solver on any grid. In the last step, to
    clean data, the scale is w.

    Args:
        scale: w, from 0 to 1.
        steps: the number of steps of the discretisation, 50 in the paper.
        grid: where they are: a grid's name, or itself.
        base: the guidance: its name, a mapping of its name and options.
        spec: what the model sees.
    """

    def __init__(
        self,
        scale: float = 0.6,
        steps: int = 50,
        grid: str | Grid = "uniform",
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(base, scale, spec)
        refuse_interval(self, "cfg_pp")
        if not 1 <= steps <= 100_000:
            raise DiffkitError(f"steps={steps} is not a number of steps; give 1 to 100000, such as steps=50")
        self.steps = steps
        self.grid: Grid = build("grid", grid, spec=spec) if isinstance(grid, str) else grid
        self._known: tuple[Schedule, list[float], list[float]] | None = None

    def strength(self, denoiser: Denoise, at: Level) -> float:
        """Return w / (1 - exp(λ - λ')) at level ``at``."""
        lams, factors = self._table(denoiser.schedule)
        i = bisect_right(lams, at.lam) - 1
        if i < 0 or i == len(lams) - 1:
            factor = factors[max(i, 0)]
        else:
            share = (at.lam - lams[i]) / (lams[i + 1] - lams[i])
            factor = factors[i] + share * (factors[i + 1] - factors[i])
        return super().strength(denoiser, at) * factor

    def _table(self, schedule: Schedule) -> tuple[list[float], list[float]]:
        """Return λ of the discretisation's levels, increasing, and 1/(1 - exp(λ - λ')) of the steps from them."""
        if self._known is None or self._known[0] is not schedule:
            lams = schedule.lam(self.grid(schedule, self.steps).to(torch.float64)).tolist()
            self._known = schedule, lams, [*(1 / (1 - exp(a - b)) for a, b in pairwise(lams)), 1.0]
        return self._known[1], self._known[2]
