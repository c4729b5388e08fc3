"""Samplers, the grids they step on, and guidance: three independent choices."""

from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from diffkit.contracts.schedule import Level, Schedule
from diffkit.streams import Streams


@runtime_checkable
class Denoise(Protocol):
    """What samplers and guidance know of a model: its schedule, and its estimate of the clean data."""

    schedule: Schedule

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return E[x_0 | x_t = x], of the shape of ``x``, at noise level ``at``."""
        ...

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any" in place of ``cond``."""
        ...


@runtime_checkable
class Grid(Protocol):
    """Where a sampler steps."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` strictly decreasing times in [0, 1], float64 on the host; the clean level follows them."""
        ...


@runtime_checkable
class Sampler(Protocol):
    """A solver that turns noise into data, whatever the schedule, the prediction or the grid."""

    steps: int

    def __call__(
        self,
        denoiser: Denoise,
        noise: Tensor,
        *,
        grid: Grid | None = None,
        streams: Streams | None = None,
        **cond: Tensor,
    ) -> Tensor:
        """Return samples of the shape of ``noise``.

        Args:
            denoiser: the model, guided or not.
            noise: unit-variance noise ``(batch, channels, *spatial)``.
            grid: where to step; uniform in t where none is given.
            streams: one random stream a sample, for samplers that add noise on the way.
            cond: conditions for the denoiser, each ``(batch, ...)``.
        """
        ...


@runtime_checkable
class Guidance(Protocol):
    """Something that wraps a denoiser and returns a denoiser; guidances nest."""

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the guided denoiser."""
        ...


Condition = dict[str, Any]
