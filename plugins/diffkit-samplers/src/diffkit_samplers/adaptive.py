"""Embedded Runge-Kutta pairs, which choose their steps by an estimate of the error."""

from collections.abc import Sequence
from math import isfinite, log, sqrt

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, StepSampler, Streams, levels_at, summed
from diffkit.contracts.sampling import Denoise
from diffkit.contracts.schedule import Schedule
from diffkit_samplers.runge_kutta import Tableau, bounded


class Adaptive(StepSampler):
    """What these pairs share: the flow in y = x/(α + σ) and τ = σ/(α + σ), in steps as long as the tolerance allows.

    Two methods share their stages, and the difference of their ends is the error of the lower one. A step is accepted
    where, for every sample of the batch, the root mean square of

        error / (atol + rtol max(|y|, |y'|))

    is at most 1, and its length follows that to the power -1/``order``. The worst sample of the batch decides for all:
    a sample depends on those beside it, though by no more than the tolerance.

    The grid gives the ends: its first level, and its last before clean data; without one they are the schedule's. The
    step to σ=0 from there is Euler's, which the tolerance does not see. Every step waits for the device once, to learn
    the error.

    Args:
        steps: the first step tried is this part of the way in τ.
        rtol: the tolerance relative to y, which is of the scale of data and noise.
        atol: the tolerance where y is 0.
        max_evaluations: how many evaluations there may be.
    """

    tableau: Tableau
    """The rows of the method; the last is its end, and the slope there the first of the next step."""
    embedded: tuple[float, ...]
    """What the end has more of each slope than the other method's, the slope at the end included."""
    order: int
    """The power of the step's length that the error estimate goes with."""

    def __init__(self, steps: int = 20, rtol: float = 1e-4, atol: float = 1e-4, max_evaluations: int = 1000) -> None:
        super().__init__(steps)
        for name, value in (("rtol", rtol), ("atol", atol)):
            if not 0 < value < 1:
                raise DiffkitError(
                    f"{name}={value} is not a tolerance; give a number between 0 and 1, such as {name}=1e-4"
                )
        if max_evaluations <= len(self.tableau):
            raise DiffkitError(
                f"max_evaluations={max_evaluations} is not enough for one step; give {len(self.tableau) + 1} or more, "
                f"such as max_evaluations=1000"
            )
        self.rtol, self.atol, self.max_evaluations = rtol, atol, max_evaluations
        self.tolerance = 100 * (rtol + atol)

    def default_grid(self, schedule: Schedule, steps: int) -> Tensor:
        """Return the ends of the schedule."""
        return torch.tensor([1.0, 0.0], dtype=torch.float64)

    @torch.no_grad()
    def integrate(
        self, denoiser: Denoise, x: Tensor, path: Sequence[Level], *, streams: Streams | None = None, **cond: Tensor
    ) -> Tensor:
        """Return ``x``, which is at ``path[0]``, carried to the last level of ``path``."""
        now, goal = path[0], path[-1] if path[-1].sigma else path[-2]
        x0, evaluations = denoiser(x, now, **cond), 1
        atol, axes, root = torch.tensor(self.atol, dtype=x.dtype), tuple(range(1, x.ndim)), sqrt(x[0].numel())

        def allow(x: Tensor, at: Level) -> Tensor:  # the greater of two of these allows what the greater |y| does
            return torch.add(atol, x.abs(), alpha=self.rtol / (at.alpha + at.sigma))

        allowed = allow(x, now)
        length = (_tau(goal) - _tau(now)) / self.steps
        while now is not goal:
            evaluations += len(self.tableau)
            if evaluations > self.max_evaluations:
                raise DiffkitError(
                    f"{type(self).__name__} does not reach rtol={self.rtol:g} and atol={self.atol:g} within "
                    f"max_evaluations={self.max_evaluations}: it is at σ/α={now.ratio:.3g} on the way to "
                    f"{goal.ratio:.3g}; give more evaluations or a larger tolerance"
                )
            left = _tau(goal) - _tau(now)
            last = abs(length) >= abs(left)
            length = left if last else length
            s_then = goal.ratio if last else _ratio(_tau(now) + length)
            *places, (_, error) = bounded((*self.tableau, self.embedded), now.ratio, s_then)
            levels = levels_at([-log(place) for place, _ in places], like=now.tensor)
            if last:
                levels[-1] = goal
            x_then, estimates = x, [x0]
            for level, (place, row) in zip(levels, places, strict=True):
                weights = [level.sigma / now.sigma, *(level.alpha * (1 + place) * v for v in row)]
                x_then = summed(weights, (x, *estimates))
                estimates.append(denoiser(x_then, level, **cond))
            allowed_then = allow(x_then, levels[-1])
            relative = summed(error, estimates).div_(torch.maximum(allowed, allowed_then))
            size = torch.linalg.vector_norm(relative, dim=axes).max().item() / root
            length *= min(5.0, max(0.2, 0.9 * max(size, 1e-9) ** (-1 / self.order))) if isfinite(size) else 0.2
            if size <= 1:
                x, x0, now, allowed = x_then, estimates[-1], levels[-1], allowed_then
        return x0 * path[-1].alpha if path[-1].sigma == 0 else x


def _tau(at: Level) -> float:
    return at.sigma / (at.alpha + at.sigma)


def _ratio(tau: float) -> float:
    return tau / (1 - tau)
