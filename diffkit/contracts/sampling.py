"""Samplers, the grids they step on, and guidance: three independent choices."""

from typing import Any, Protocol, cast, runtime_checkable

from torch import Tensor

from diffkit.contracts.schedule import Level, Schedule
from diffkit.errors import DiffkitError
from diffkit.streams import Streams


@runtime_checkable
class Denoise(Protocol):
    """What samplers and guidance know of a model: its schedule, and its estimate of the clean data.

    One that knows how uncertain the estimate is has a method ``moments(x, at, **cond)`` besides, which returns the
    estimate and the variance of each value of x_0 given x_t = x, both of the shape of ``x``.
    """

    schedule: Schedule

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return E[x_0 | x_t = x], of the shape of ``x``, at noise level ``at``."""
        ...

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any" in place of ``cond``."""
        ...


def moments_of(denoiser: Denoise) -> Any:
    """Return what gives a denoiser's estimate with its variance; see :class:`Denoise`.

    Raises:
        DiffkitError: where it has no variance.
    """
    found = getattr(denoiser, "moments", None)
    if found is None:
        raise DiffkitError(
            f"{type(denoiser).__name__} gives an estimate without its variance, which the sampler asks for; sample "
            f"without, such as sampler.variance=small"
        )
    return found


def innermost(denoiser: Denoise) -> Any:
    """Return the model that guidances wrap, each of which has it as ``denoiser``."""
    within = getattr(denoiser, "denoiser", None)
    return denoiser if within is None else innermost(within)


def likewise(denoiser: Denoise, model: Denoise) -> Denoise:
    """Return ``model`` told what guidances tell the model in ``denoiser``, such as frames that are known.

    Those that do have a method ``of(model)``, which returns the same around another one.
    """
    within = getattr(denoiser, "denoiser", None)
    if within is None:
        return model
    told = likewise(within, model)
    around: Any = getattr(denoiser, "of", None)
    return told if around is None else cast(Denoise, around(told))


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
