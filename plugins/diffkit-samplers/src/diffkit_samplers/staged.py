"""Methods that look at nothing but their own step: several estimates within it, and no history.

With z = x/α and s = σ/α the probability flow is dz/ds = (z - D)/s, whatever the schedule. Every method here solves it
exactly where D is constant, so that each of its stages, the end of the step among them, has the form

    z_i = (s_i/s) z + Σ_j w_ij D_j,        Σ_j w_ij = 1 - s_i/s,

with D_j the estimate at stage j and D_0 that at the start. A method is its places s_i and its weights w_ij.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor

from diffkit import Level, StepSampler, levels_at, summed
from diffkit_samplers.linear import column

Number = Any
"""A float, or an array with a value a step: the formulas of stages are elementwise."""

Stage = tuple[Number, list[Number]]
"""The place s_i, and the weights of the estimates before it."""


class Stages(NamedTuple):
    """One step: levels to look at, the weights of x and of the estimates so far there, and those of the end."""

    inner: list[tuple[Level, list[float]]]
    end: list[float]


class Staged(StepSampler):
    """What single-step methods share: all weights at once, and the sums. The step to σ=0, which is last, is D_0."""

    def stages(self, s: Number, s_then: Number) -> list[Stage]:
        """Return the stages of steps from ``s`` to ``s_then``, both positive; the last is at ``s_then``."""
        raise NotImplementedError(f"{type(self).__name__} has no stages; define stages()")

    def prepare(self, path: Sequence[Level]) -> Sequence[Stages]:
        """Return the stages of each step."""
        return self.plans(path[:-1], path[1:])

    def plans(self, starts: Sequence[Level], ends: Sequence[Level]) -> list[Stages]:
        """Return the stages of steps from ``starts`` to ``ends``."""
        noisy = [end for end in ends if end.sigma]
        clean = [Stages([], [0.0, end.alpha]) for end in ends[len(noisy) :]]
        if not noisy:
            return clean
        sigma, s_then = column(starts[: len(noisy)], "sigma"), column(noisy, "sigma") / column(noisy, "alpha")
        s = sigma / column(starts[: len(noisy)], "alpha")
        known, columns = {id(s_then): noisy}, []
        for place, weights in self.stages(s, s_then):
            if id(place) not in known:
                known[id(place)] = levels_at((-np.log(place)).tolist(), like=starts[0].tensor)
            at = known[id(place)]
            alpha = column(at, "alpha")
            rows = np.stack((column(at, "sigma") / sigma, *(alpha * w for w in weights)), 1)
            columns.append(zip(at, rows.tolist(), strict=True))
        return [Stages(inner, end) for *inner, (_, end) in zip(*columns, strict=True)] + clean

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        plan: Stages,
        denoise: Callable[[Tensor, Level], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        return climb(plan, x, x0, denoise)


def climb(plan: Stages, x: Tensor, x0: Tensor, denoise: Callable[[Tensor, Level], Tensor]) -> Tensor:
    """Return the end of a step from ``x``, through its stages."""
    known = [x, x0]
    for level, weights in plan.inner:
        known.append(denoise(summed(weights, known), level))
    return summed(plan.end, known)
