"""Data changed by a model: noise is added, and taken off again under another condition."""

from math import log

import torch
from torch import Tensor

from diffkit import DiffkitError, StepSampler, Streams, levels
from diffkit.contracts.sampling import Denoise, Grid
from diffkit_inference.ends import data_std, grid_times


def edit(
    sampler: StepSampler,
    denoiser: Denoise,
    x0: Tensor,
    strength: float = 0.5,
    *,
    grid: Grid | None = None,
    streams: Streams | None = None,
    std: float | None = None,
    **cond: Tensor,
) -> Tensor:
    """Return data like ``x0``: noise is added to it and the sampler takes it off again, under ``cond``.

    Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations" (2022).

    Args:
        sampler: any that steps from level to level.
        denoiser: the model, guided or not.
        x0: clean data ``(batch, channels, *shape)``.
        strength: the share of noise, σ / (c α + σ), in what the sampler starts from: as much noise as data at 0.5; 1 is
            the grid's own start, where next to nothing of ``x0`` is left.
        grid: where to step below that level; uniform in t where none is given.
        streams: one random stream a sample.
        std: the standard deviation c of the data; the model's own where none is given.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: for a strength outside of (0, 1].
    """
    if not 0 < strength <= 1:
        raise DiffkitError(f"strength={strength} is not a share of noise; give a number above 0, up to 1: strength=0.5")
    schedule = denoiser.schedule
    times = grid_times(sampler, grid, schedule)
    if strength < 1:
        lam = -log(data_std(denoiser, std) * strength / (1 - strength))
        start = schedule.time(torch.tensor([lam], dtype=torch.float64))
        times = torch.cat((start, times[times < start])) if start < times[0] else times
    path = levels(schedule, times, like=x0)
    noise = streams.draw(tuple(x0.shape[1:]), 0, like=x0) if streams else torch.randn_like(x0)
    return sampler.integrate(denoiser, path[0].alpha * x0 + path[0].sigma * noise, path, streams=streams, **cond)
