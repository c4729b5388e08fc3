"""Steps that are sums: of x, of estimates and of fresh noise, by weights that depend on the levels alone."""

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffkit import Level, Point, StepSampler, summed


class Weights(NamedTuple):
    """One step: the weights of x and of the estimates from the latest back, and that of fresh noise."""

    terms: Sequence[float]
    noise: float = 0.0


class Linear(StepSampler):
    """A solver that is its weights: inherit, and let :meth:`prepare` return :class:`Weights`."""

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        plan: Weights,
        draw: Callable[[], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        x = summed(plan.terms, (x, x0, *[point.x0 for point in reversed(past)]))
        return x.add_(draw(), alpha=plan.noise) if plan.noise else x


def corrections(b: Tensor, again: Tensor) -> Tensor:
    """Return the weights of the estimates in what corrects x before each step, ``(steps, k)``.

    Args:
        b: the weights of the estimates in each step, ``(steps, k)``; the last column is 0.
        again: those of each step but the last taken again, that of the estimate at its end first.
    """
    found = torch.zeros_like(b)
    found[1:] = again
    found[1:, 1:] -= b[:-1, :-1]
    return found


def column(levels: Sequence[Level], name: str) -> Any:
    """Return one coefficient of all levels, as an array of float64."""
    return np.fromiter(map(attrgetter(name), levels), float, len(levels))
