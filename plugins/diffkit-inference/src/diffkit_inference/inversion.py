"""Data to the noise it comes from, and back: a deterministic sampler walked in both directions."""

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, StepSampler, levels
from diffkit.contracts.sampling import Denoise, Grid
from diffkit_inference.ends import grid_times


def invert(sampler: StepSampler, denoiser: Denoise, x0: Tensor, *, grid: Grid | None = None, **cond: Tensor) -> Tensor:
    """Return the noise of the shape of ``x0`` that ``sampler`` would turn into it.

    The grid is walked backwards, from its last level before clean data, where ``x0`` is taken to be, to its first. The
    error of :func:`regenerate` from there falls with the order of the sampler.

    Args:
        sampler: a deterministic one: a sampler that adds noise is refused.
        denoiser: the model, guided or not; guidance above 1 makes the flow stretch, and inversion less accurate.
        x0: clean data ``(batch, channels, *shape)``.
        grid: where to step; uniform in t where none is given.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: where the sampler adds noise, or has no steps that can be walked backwards.
    """
    path = _path(sampler, denoiser, x0, grid)
    x = sampler.integrate(denoiser, path[-1].alpha * x0, path[::-1], **cond)
    return x / path[0].sigma


def regenerate(
    sampler: StepSampler, denoiser: Denoise, noise: Tensor, *, grid: Grid | None = None, **cond: Tensor
) -> Tensor:
    """Return the data that :func:`invert` found ``noise`` for; see there.

    It ends where :func:`invert` began, at the last level before clean data, and not with the model's estimate there.
    """
    path = _path(sampler, denoiser, noise, grid)
    return sampler.integrate(denoiser, path[0].sigma * noise, path, **cond) / path[-1].alpha


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the items ``share`` of the way from ``a`` to ``b`` on the great circle through both.

    sin((1-s)θ)/sin θ · a + sin(sθ)/sin θ · b, θ the angle between an item of ``a`` and its partner: unlike a straight
    line it keeps to the length of noise. Shoemake, "Animating rotation with quaternion curves" (1985).
    """
    x, y = a.flatten(1), b.flatten(1)
    x, y = (each / each.norm(dim=1, keepdim=True).clamp_min(torch.finfo(a.dtype).tiny) for each in (x, y))
    apart, along = (each.norm(dim=1).reshape(-1, *[1] * (a.ndim - 1)) for each in (x - y, x + y))
    angle, sine = 2 * torch.atan2(apart, along), apart * along / 2  # the cosine knows no small angles
    straight = sine < 1e-6  # the same ends; or opposite ones, which no single circle goes through
    sine = torch.where(straight, 1.0, sine)
    first = torch.where(straight, 1 - share, ((1 - share) * angle).sin() / sine)
    second = torch.where(straight, share, (share * angle).sin() / sine)
    return first * a + second * b


def interpolate(
    sampler: StepSampler,
    denoiser: Denoise,
    a: Tensor,
    b: Tensor,
    steps: int = 5,
    *,
    grid: Grid | None = None,
    **cond: Tensor,
) -> Tensor:
    """Return ``steps`` stages from each item of ``a`` to its partner in ``b``, as ``(steps, batch, channels, *shape)``.

    Both are inverted, their noises interpolated on the great circle, and data is made of the results: the first stage
    is ``a`` and the last is ``b``, up to the sampler's error.
    """
    if steps < 2:
        raise DiffkitError(f"steps={steps} is not a number of stages; give 2 or more: the two ends and what is between")
    ends = [invert(sampler, denoiser, x, grid=grid, **cond) for x in (a, b)]
    stages = [slerp(*ends, i / (steps - 1)) for i in range(steps)]
    return torch.stack([regenerate(sampler, denoiser, noise, grid=grid, **cond) for noise in stages])


def _path(sampler: StepSampler, denoiser: Denoise, x: Tensor, grid: Grid | None) -> list[Level]:
    """Return the noisy levels that ``sampler`` steps on."""
    times = grid_times(sampler, grid, denoiser.schedule)
    if len(times) < 2:
        raise DiffkitError("one step has no way back; give the sampler 2 steps or more, such as sampler.steps=50")
    return levels(denoiser.schedule, times, like=x)[:-1]
