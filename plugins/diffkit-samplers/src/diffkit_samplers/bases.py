"""Solvers that wrap another: how it is named, and how its noise goes on from one piece of a path to the next."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from diffkit import DataSpec, DiffkitError, StepSampler, Streams, build

Base = str | Mapping[str, Any] | StepSampler
"""A solver: its name, a mapping of its name and options, or itself."""


def built(base: Base, steps: int, spec: DataSpec | None) -> StepSampler:
    """Return the solver ``base``.

    Raises:
        DiffkitError: where it does not step from level to level.
    """
    solver = build("sampler", base, spec=spec, steps=steps) if isinstance(base, str | Mapping) else base
    if not isinstance(solver, StepSampler):
        raise DiffkitError(
            f"base={base!r} does not step from level to level of a grid; give one that does, such as base=heun"
        )
    return solver


class Continued(Streams):
    """Streams that count on from piece to piece, where each piece counts its draws from 1."""

    def __init__(self, streams: Streams) -> None:
        super().__init__(streams.seed, streams.indices, streams.noise)
        self.streams, self.draws = streams, 0

    def draw(self, shape: tuple[int, ...], step: int, like: Tensor | None = None) -> Tensor:
        """Return the next noise of each sample, whatever the ``step``."""
        self.draws += 1
        return self.streams.draw(shape, self.draws, like=like)
