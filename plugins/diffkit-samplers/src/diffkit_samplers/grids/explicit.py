"""A grid that is written out."""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule
from diffkit_samplers.grids.ends import check_scale, lam_ends

SLACK = 1e-6
"""How far beyond the schedule's ends, in λ, a level may be that was written with few digits."""


class ExplicitGrid:
    """The levels that are listed, from noise to the last before clean data: as times, as σ/α, or as λ = log(α/σ).

    Args:
        times: t, decreasing, within 0 and 1.
        sigmas: σ/α, decreasing, above 0; as in k-diffusion and EDM, but without the 0 at the end, which goes by itself.
        lams: λ, increasing.
        spec: what the model sees: a first level below the data's standard deviation is refused.
    """

    def __init__(
        self,
        times: list[float] | None = None,
        sigmas: list[float] | None = None,
        lams: list[float] | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        given = {name: v for name, v in (("times", times), ("sigmas", sigmas), ("lams", lams)) if v is not None}
        if len(given) != 1:
            raise DiffkitError(
                f"an explicit grid is one list, and {len(given)} are given; give times, sigmas or lams, such as "
                f"grid.sigmas=[80,10,2,0.5]"
            )
        ((self.name, values),) = given.items()
        self.values, self.spec = torch.tensor([float(value) for value in values], dtype=torch.float64), spec
        self._check(values)

    def _check(self, values: Sequence[float]) -> None:
        sign = 1 if self.name == "lams" else -1
        if not values or not all(sign * (b - a) > 0 for a, b in pairwise(values)):
            raise DiffkitError(
                f"{self.name}={list(values)} is no way from noise to data; give one or more, each "
                f"{'above' if sign > 0 else 'below'} the one before"
            )
        if self.name == "sigmas" and not values[-1] > 0:
            raise DiffkitError("sigmas end above 0: the step to clean data follows by itself; leave the last one out")

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return the times, float64 on the host; ``steps`` is how many there are."""
        if steps != len(self.values):
            raise DiffkitError(
                f"the grid lists {len(self.values)} {self.name}, but the sampler takes {steps} steps; give "
                f"sampler.steps={len(self.values)}, as many {self.name} as steps, or another sampler and grid, such as "
                f"sampler=dpmpp_2m grid=karras; for a run also: diffkit calibrate RUN sampler.steps={steps}"
            )
        times = self.values if self.name == "times" else self._times(schedule)
        if times.min() < 0 or times.max() > 1:
            raise DiffkitError(f"times={self.values.tolist()} are not all within 0 (clean) and 1 (noise)")
        check_scale(float(torch.exp(-schedule.lam(times[0]).detach())), self.spec, f"the first of {self.name}")
        return times

    def _times(self, schedule: Schedule) -> Tensor:
        lam = self.values if self.name == "lams" else -self.values.log()
        first, last = lam_ends(schedule)
        if lam[0] < first - SLACK or lam[-1] > last + SLACK:
            raise DiffkitError(
                f"the {self.name} reach beyond this schedule, whose λ goes from {first:.4g} to {last:.4g} (σ/α from "
                f"{torch.tensor(-first).exp():.4g} to {torch.tensor(-last).exp():.4g}); leave out what is beyond"
            )
        return schedule.time(lam)
