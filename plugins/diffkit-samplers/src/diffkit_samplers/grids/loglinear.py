"""Equal steps in λ."""

from math import log

from torch import Tensor

from diffkit.contracts.schedule import Schedule
from diffkit_samplers.grids.ends import SigmaGrid, equal


class LogLinearGrid(SigmaGrid):
    """Uniform in λ: every step divides σ/α by the same factor, as elsewhere "exponential" and "log-SNR" grids do.

    Args:
        sigma_min: the last σ/α before clean data; the schedule's smallest where that is larger, or where none is given.
        sigma_max: the first σ/α; the schedule's largest where that is smaller, or where none is given.
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        first, last = self.ends(schedule)
        return schedule.time(-equal(log(first), log(last), steps))
