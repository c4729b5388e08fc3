"""Where a sampler steps: strictly decreasing times, from noise to the last before clean data."""

import math

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit.contracts.schedule import Schedule


class UniformGrid:
    """1, 1 - 1/steps, …, 1/steps: uniform in t, and the step to clean data is as long as the others."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        return 1 - torch.arange(steps, dtype=torch.float64) / steps


class KarrasGrid:
    """Uniform in the ρ-th root of σ/α: the larger ρ, the more of the steps are at little noise.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), eq. 5. The ends are the
    paper's, for data in [-1, 1]. Hardly anything happens beyond, and schedules that go on to σ/α = 20,000, as cosine
    and flow do, would spend most of their steps there.

    Args:
        rho: ρ.
        sigma_min: the last σ/α before clean data; the schedule's smallest where that is larger, or where none is given.
        sigma_max: the first σ/α; the schedule's largest where that is smaller, or where none is given.
    """

    def __init__(self, rho: float = 7.0, sigma_min: float | None = 0.002, sigma_max: float | None = 80.0) -> None:
        if not 0 < rho < math.inf:
            raise DiffkitError(f"rho={rho} is not an exponent of noise levels; give a number above 0, such as rho=7")
        self.rho = rho
        self.sigma_min = 0.0 if sigma_min is None else sigma_min
        self.sigma_max = math.inf if sigma_max is None else sigma_max
        if not 0 <= self.sigma_min < self.sigma_max:
            raise DiffkitError(
                f"sigma_min={sigma_min} and sigma_max={sigma_max} are not the ends of a grid; give 0 < sigma_min < "
                f"sigma_max, such as sigma_min=0.002 sigma_max=80; null is the schedule's own end"
            )

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        largest, smallest = torch.exp(-schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))).tolist()
        first, last = min(largest, self.sigma_max), max(smallest, self.sigma_min)
        if first <= last:
            raise DiffkitError(
                f"sigma_min={self.sigma_min:g} and sigma_max={self.sigma_max:g} leave nothing of this schedule, whose "
                f"σ/α is between {smallest:.4g} and {largest:.4g}; give a range that overlaps with it"
            )
        root = torch.linspace(first ** (1 / self.rho), last ** (1 / self.rho), steps, dtype=torch.float64)
        return schedule.time(-self.rho * root.log())


class LogLinearGrid:
    """Uniform in λ, from end to end of the schedule: every step divides σ/α by the same factor."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        first, last = schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
        return schedule.time(torch.linspace(first, last, steps, dtype=torch.float64))
