"""Solvers of diffusers on the problems of solvers.py: the same start, levels and denoiser, in float64."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler
from torch import Tensor

from diffkit import levels


def settings(problem: Any, nfe: int, grids: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield solver, grid and error of each setting, all with one evaluation a step and a last step to σ=0."""
    schedulers = {
        "d. dpmpp_2m": DPMSolverMultistepScheduler(prediction_type="sample", solver_order=2),
        "d. unipc 2": UniPCMultistepScheduler(prediction_type="sample", solver_order=2),
        "d. unipc 3": UniPCMultistepScheduler(prediction_type="sample", solver_order=3),
    }
    for grid_name, grid in grids.items():
        for name, scheduler in schedulers.items():
            yield name, grid_name, problem.error(run(scheduler, problem, grid, nfe))


def run(scheduler: Any, problem: Any, grid: Any, nfe: int) -> Tensor:
    """Return where a scheduler ends; it is given the grid's levels in place of its own."""
    schedule = problem.denoiser.schedule
    path = levels(schedule, grid(schedule, nfe), like=problem.x)
    scheduler.set_timesteps(nfe)
    scheduler.sigmas = torch.tensor([*(at.ratio for at in path[:-1]), 0.0], dtype=torch.float64)
    scheduler.timesteps = torch.arange(nfe, 0, -1)
    x = problem.x / (1 + path[0].ratio ** 2) ** 0.5  # it keeps α² + σ² = 1, and problems α = 1
    for at, t in zip(path[:-1], scheduler.timesteps, strict=True):
        x0 = problem.denoiser(x * (1 + at.ratio**2) ** 0.5, at, **problem.cond)
        x = scheduler.step(x0, t, x).prev_sample
    return x
