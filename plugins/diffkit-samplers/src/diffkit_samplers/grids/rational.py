"""Equal steps in the share of the noise."""

from math import inf, log

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule
from diffkit_samplers.grids.ends import SigmaGrid, equal


class RationalGrid(SigmaGrid):
    """Uniform in u = s^p/(c^p + s^p), with s = σ/α: most of the steps are where noise and data are alike, s ≈ c.

    u is 0 at clean data and 1 at pure noise, so no step is spent where nothing happens, however far the schedule goes.
    As a function of λ it is a logistic one, u = sigmoid(-p (λ + log c)), of which p is the steepness: with p < 1 more
    of the steps are at both ends, with p > 1 fewer. For c = 1 and p = 1 it is the time of the schedule ``flow``.

    Args:
        c: the σ/α at which u is ½; none is the standard deviation of the data, or 0.5 where that is unknown.
        p: the exponent. With 0.8, mixtures and trained networks alike are sampled well in 8 to 20 steps.
        sigma_min: the last σ/α before clean data; none makes the step to clean data as long in u as the others.
        sigma_max: the first σ/α; the schedule's largest where that is smaller, or where none is given.
        spec: what the model sees.
    """

    def __init__(
        self,
        c: float | None = None,
        p: float = 0.8,
        sigma_min: float | None = None,
        sigma_max: float | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(sigma_min, sigma_max, spec)
        self.c = c if c is not None else 0.5 if spec is None else spec.std
        self.p = p
        if not (0 < self.c < inf and 0 < p < inf):
            raise DiffkitError(f"c={c} and p={p} do not shape a grid; give numbers above 0, such as c=0.5 p=1")

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        first, last = self.ends(schedule)
        u_first, u_last = self._share(first), self._share(last)
        if not self.sigma_min:
            u_last = max(u_last, u_first / steps)
        lam = -log(self.c) - torch.logit(equal(u_first, u_last, steps)) / self.p
        lam[0] = -log(first)  # which u cannot tell from infinity where it rounds to 1
        return schedule.time(lam)

    def _share(self, sigma: float) -> float:
        return 1 / (1 + (self.c / sigma) ** self.p)
