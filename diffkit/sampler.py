"""The loop every solver shares: step from level to level, then to clean data.

A solver is a stateless step rule plus the history it asks for. What depends on the levels alone it prepares once, on
the host, for all steps; in the loop it sees floats and tensors, and branches on neither schedule nor prediction.
Walking the levels in reverse inverts it.
"""

from collections import deque
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from diffkit.contracts.sampling import Denoise, Grid, innermost, moments_of
from diffkit.contracts.schedule import Level, Schedule, levels
from diffkit.errors import DiffkitError
from diffkit.linear import scaled
from diffkit.streams import Streams

KEPT = 8
"""For how many paths a sampler keeps its plans."""
LONGEST = 100_000
"""The most steps: what is kept of each before the first is taken adds up to a hundred megabytes."""


class Point(NamedTuple):
    """A place that a trajectory went through: the level, the sample there, and the estimate of the clean data."""

    level: Level
    x: Tensor
    x0: Tensor


class Draw(Protocol):
    """Fresh unit noise of the shape of the samples."""

    def __call__(self) -> Tensor:
        """Return it."""
        ...


def uniform_times(_schedule: Schedule, steps: int) -> Tensor:
    """Return 1, 1 - 1/steps, …, 1/steps: the grid of a sampler that was given none."""
    return torch.linspace(1, 1 / steps, steps, dtype=torch.float64)


def _check_times(times: Tensor, grid: Grid | None) -> None:
    walked = times.tolist()
    first, last = walked[0], walked[-1]
    if not (first <= 1 and last >= 0 and all(then < now for now, then in pairwise(walked))):
        raise DiffkitError(
            f"{type(grid).__name__} gives {len(times)} times from {first:.4g} to {last:.4g} that do not all fall, or "
            f"not within 1 and 0; choose another grid, or fewer steps"
        )


def _frozen(option: Any) -> Any:
    """Return ``option`` as a value that is another where the option has changed.

    Raises:
        TypeError: where there is none, since it is not made of numbers and words.
    """
    if isinstance(option, bool | int | float | str | None):
        return option
    if isinstance(option, list | tuple):
        return tuple(map(_frozen, option))
    raise TypeError(f"{type(option).__name__} may change unnoticed")


class StepSampler:
    """A sampler given by its step rule: inherit and write :meth:`step`.

    Args:
        steps: the number of steps, the last of which ends at clean data.
    """

    history = 0
    """How many past points :meth:`step` and :meth:`correct` want to see."""
    tolerance = 0.0
    """How far a sample may depend on those beside it: 0, unless a solver chooses its levels between the grid's ends by
    an estimate of the error over a whole batch."""
    moments = False
    """Whether :meth:`step` wants the variance beside the estimate: ``x0`` is then a pair of both."""

    def __init__(self, steps: int = 20) -> None:
        if not 1 <= steps <= LONGEST:
            raise DiffkitError(
                f"steps={steps} is not a number of sampling steps; give 1 to {LONGEST}, such as steps=20."
            )
        self.steps = steps

    def default_grid(self, schedule: Schedule, steps: int) -> Tensor:
        """Return where it steps if it is given no grid: uniformly in t, unless a solver says otherwise."""
        return uniform_times(schedule, steps)

    def prepare(self, path: Sequence[Level]) -> Sequence[Any]:
        """Return for each step what depends on the levels alone: its ``plan``.

        Args:
            path: the levels, in the order they are walked, backwards for inversion. Levels within a step come from
                :func:`diffkit.levels_at`.
        """
        return [None] * (len(path) - 1)

    def _plans(self, path: Sequence[Level]) -> Sequence[Any]:
        """Return what :meth:`prepare` does, kept for batches to come on the same levels, with the same options."""
        try:
            asked = (*path, *((name, _frozen(value)) for name, value in vars(self).items() if name != "_kept"))
        except TypeError:
            return self.prepare(path)
        kept: dict[Any, Sequence[Any]] = self.__dict__.setdefault("_kept", {})
        if asked not in kept:
            if len(kept) == KEPT:
                kept.clear()
            with torch.inference_mode(False), torch.no_grad():  # a later batch may be drawn in another mode
                kept[asked] = list(self.prepare(path))
        return kept[asked]

    def correct(self, x: Tensor, x0: Tensor, now: Level, *, past: Sequence[Point], plan: Any) -> Tensor:
        """Return the sample at level ``now`` improved by the estimate there, which the step from it needs anyway.

        Args:
            x: what the step before arrived at.
            x0: the denoiser's estimate there.
            now: the level of ``x``.
            past: up to ``history`` earlier points, the latest last.
            plan: what :meth:`prepare` returned for the step that starts here.
        """
        return x

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        plan: Any,
        denoise: Any,
        draw: Draw,
    ) -> Tensor:
        """Return the sample at level ``then``.

        Args:
            x: the sample ``(batch, channels, *spatial)`` at level ``now``.
            x0: the denoiser's estimate of the clean data, evaluated at ``x`` and ``now``.
            now: the level of ``x``.
            then: the level to go to; its σ is 0 in the last step.
            past: up to ``history`` earlier points, the latest last.
            plan: what :meth:`prepare` returned for this step.
            denoise: ``denoise(x, level)`` evaluates the denoiser once more.
            draw: ``draw()`` returns fresh noise, from each sample's own stream.
        """
        raise NotImplementedError(f"{type(self).__name__} has no step rule; define step()")

    def __call__(
        self,
        denoiser: Denoise,
        noise: Tensor,
        *,
        grid: Grid | None = None,
        streams: Streams | None = None,
        **cond: Tensor,
    ) -> Tensor:
        """Return samples of the shape of ``noise``; see :class:`~diffkit.contracts.sampling.Sampler`."""
        times = (grid or self.default_grid)(denoiser.schedule, self.steps)
        _check_times(times, grid)
        path = levels(denoiser.schedule, times, like=noise)
        return self.integrate(denoiser, scaled(noise, path[0].sigma), path, streams=streams, **cond)

    @torch.no_grad()
    def integrate(
        self, denoiser: Denoise, x: Tensor, path: Sequence[Level], *, streams: Streams | None = None, **cond: Tensor
    ) -> Tensor:
        """Return ``x``, which is at ``path[0]``, carried along ``path`` to its last level."""
        asked: Any = moments_of(denoiser) if self.moments else denoiser
        denoise = partial(asked, **cond)
        noise = getattr(innermost(denoiser), "noise", None)
        if streams is None and noise is not None:
            streams = Streams(int(torch.randint(2**62, ())), range(len(x)), noise)
        past: deque[Point] = deque(maxlen=self.history)
        draws = 0

        def draw() -> Tensor:
            nonlocal draws
            draws += 1
            if streams is None:
                return torch.randn_like(x)
            return streams.draw(tuple(x.shape[1:]), draws, like=x)

        for (now, then), plan in zip(pairwise(path), self._plans(path), strict=True):
            x0 = denoise(x, now)
            x = self.correct(x, x0, now, past=past, plan=plan)
            point = Point(now, x, x0)
            x = self.step(x, x0, now, then, past=past, plan=plan, denoise=denoise, draw=draw)
            past.append(point)
        return x
