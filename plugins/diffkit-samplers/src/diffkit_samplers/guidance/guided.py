"""A denoiser with guidance around it, and how a guidance names another."""

from collections.abc import Callable, Mapping
from math import isfinite
from typing import Any

from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError, Level, build
from diffkit.contracts.sampling import Denoise, Guidance, innermost, likewise, moments_of
from diffkit.contracts.schedule import Schedule

Base = str | Mapping[str, Any] | Guidance
"""A guidance: its name, a mapping of its name and options, or itself."""
Estimate = Callable[[Denoise, Tensor, Level, dict[str, Tensor]], Tensor]


class Guided:
    """The denoiser that a guidance returns.

    Args:
        denoiser: what it asks.
        estimate: what it makes of the answers: ``estimate(denoiser, x, at, cond)``.
    """

    def __init__(self, denoiser: Denoise, estimate: Estimate) -> None:
        self.denoiser, self.estimate = denoiser, estimate
        self.schedule: Schedule = denoiser.schedule

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any"."""
        return self.denoiser.null(cond)

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return the guided estimate of the clean data."""
        return self.estimate(self.denoiser, x, at, cond)

    def moments(self, x: Tensor, at: Level, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return the guided estimate, and the variance of the model's own, for an evaluation more.

        Guidance says where the estimate is to be, and nothing of how uncertain it is there.
        """
        model = likewise(self.denoiser, innermost(self.denoiser))
        _, variance = moments_of(model)(x, at, **cond)
        return self(x, at, **cond), variance


def built(base: Base, spec: DataSpec | None, scale: float | None = None) -> Guidance:
    """Return the guidance ``base``.

    Args:
        base: see :data:`Base`.
        spec: what the model sees, for a guidance that asks.
        scale: its ``scale``; none leaves it its own.

    Raises:
        DiffkitError: where a scale is given beside a guidance that has its own.
    """
    has_own = "scale" in base if isinstance(base, Mapping) else not isinstance(base, str)
    if scale is not None and has_own:
        raise DiffkitError(f"scale={scale} is given beside base={base!r}, which has its own; give it once")
    if isinstance(base, str | Mapping):
        return build("guidance", base, spec=spec, **({} if scale is None else {"scale": scale}))
    return base


def check_scale(scale: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless ``scale`` is finite."""
    if not isfinite(scale):
        raise DiffkitError(f"scale={scale} is not a strength of guidance; give a number, such as scale=1.5")


def spec_of(denoiser: Denoise) -> DataSpec | None:
    """Return what a denoiser models, where it says so."""
    return getattr(innermost(denoiser), "spec", None)


def network_of(denoiser: Denoise) -> nn.Module | None:
    """Return the network of the model, where it is one of a network."""
    return getattr(innermost(denoiser), "net", None)
