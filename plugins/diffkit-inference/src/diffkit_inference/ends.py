"""What is asked of a model and a sampler: noise levels, the scale of the data, normal noise, and a grid."""

import math

import torch
from torch import Tensor

from diffkit import DiffkitError, StepSampler
from diffkit.contracts.sampling import Denoise, Grid, Sampler, innermost
from diffkit.contracts.schedule import Schedule


def noise_range(schedule: Schedule, sigma_min: float | None, sigma_max: float | None) -> tuple[float, float]:
    """Return the smallest and the largest σ/α: as given, or the schedule's own.

    Raises:
        DiffkitError: where they are not in order.
    """
    smallest, largest = torch.exp(-schedule.lam(torch.tensor([0.0, 1.0], dtype=torch.float64))).tolist()
    first = smallest if sigma_min is None else sigma_min
    last = largest if sigma_max is None else sigma_max
    if not 0 < first < last < math.inf:
        raise DiffkitError(
            f"sigma_min={first:g} and sigma_max={last:g} are not a range of noise levels; give 0 < sigma_min < "
            f"sigma_max, such as {smallest:.4g} and {largest:.4g}, the ends of this schedule"
        )
    return first, last


def data_std(denoiser: Denoise, std: float | None) -> float:
    """Return the standard deviation of the data: as given, or what the model's spec says.

    Raises:
        DiffkitError: where neither says it, or it is not above 0.
    """
    spec = getattr(innermost(denoiser), "spec", None)
    found = std if std is not None else spec.std if spec is not None else None
    if found is None:
        raise DiffkitError("the model does not say the standard deviation of its data; give it: std=VALUE")
    if not 0 < found < math.inf:
        raise DiffkitError(f"std={found} is not a standard deviation; give a number above 0")
    return found


def refuse_other_noise(denoiser: Denoise, asked: str = "a likelihood") -> None:
    """Raise :class:`DiffkitError` where the noise of the model is not independent and normal, as ``asked`` needs."""
    noise = getattr(innermost(denoiser), "noise", None)
    if not getattr(noise, "gaussian", True):
        raise DiffkitError(
            f"the model was trained with {type(noise).__name__}, and {asked} needs independent normal noise; train "
            f"with noise=normal"
        )


def grid_times(sampler: Sampler, grid: Grid | None, schedule: Schedule) -> Tensor:
    """Return where ``sampler`` steps; uniform in t where no grid is given.

    Raises:
        DiffkitError: where it does not step from level to level.
    """
    if not isinstance(sampler, StepSampler):
        raise DiffkitError(
            f"{type(sampler).__name__} does not step from level to level, so it can start nowhere but at noise; choose "
            f"another sampler, such as sampler=heun"
        )
    if grid is not None:
        return grid(schedule, sampler.steps)
    return 1 - torch.arange(sampler.steps, dtype=torch.float64) / sampler.steps
