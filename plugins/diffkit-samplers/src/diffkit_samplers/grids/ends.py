"""The first and the last noise level of a grid."""

from math import exp, inf

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule


def lam_ends(schedule: Schedule) -> tuple[float, float]:
    """Return λ at t=1 and at t=0."""
    first, last = schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    return first, last


def check_scale(first: float, spec: DataSpec | None, said: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` where the first σ/α is below the standard deviation of the data.

    Args:
        first: the first σ/α.
        spec: what the model sees; nothing is checked without.
        said: the option that sets it, for the sentence.
    """
    if spec is not None and first < spec.std:
        raise DiffkitError(
            f"{said} starts at σ/α={first:.4g}, below the data's standard deviation {spec.std:.4g}, where samples "
            f"still are mostly data and pure noise is not what the model knows; start at {20 * spec.std:.2g} or more"
        )


class SigmaGrid:
    """A grid between two σ/α, each the schedule's own where that is nearer, or where none is given.

    Args:
        sigma_min: the last σ/α before clean data.
        sigma_max: the first σ/α.
        spec: what the model sees: σ_max below the data's standard deviation is refused.
    """

    def __init__(
        self, sigma_min: float | None = None, sigma_max: float | None = None, spec: DataSpec | None = None
    ) -> None:
        self.sigma_min = 0.0 if sigma_min is None else sigma_min
        self.sigma_max = inf if sigma_max is None else sigma_max
        if not 0 <= self.sigma_min < self.sigma_max:
            raise DiffkitError(
                f"sigma_min={sigma_min} and sigma_max={sigma_max} are not the ends of a grid; give 0 < sigma_min < "
                f"sigma_max, such as sigma_min=0.002 sigma_max=80; null is the schedule's own end"
            )
        check_scale(self.sigma_max, spec, f"sigma_max={sigma_max}")

    def ends(self, schedule: Schedule) -> tuple[float, float]:
        """Return the first and the last σ/α under ``schedule``.

        Raises:
            DiffkitError: where the schedule has no level between the two that were given.
        """
        largest, smallest = (exp(-lam) for lam in lam_ends(schedule))
        first, last = min(largest, self.sigma_max), max(smallest, self.sigma_min)
        if first <= last:
            raise DiffkitError(
                f"sigma_min={self.sigma_min:g} and sigma_max={self.sigma_max:g} leave nothing of this schedule, whose "
                f"σ/α is between {smallest:.4g} and {largest:.4g}; give a range that overlaps with it"
            )
        return first, last


def equal(first: float, last: float, steps: int) -> Tensor:
    """Return ``steps`` numbers at equal distances from ``first`` to ``last``."""
    return torch.linspace(first, last, steps, dtype=torch.float64)
