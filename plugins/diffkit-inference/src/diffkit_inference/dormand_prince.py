"""An adaptive Runge-Kutta method for states of a batch.

The pair of orders 5 and 4 of Dormand & Prince, "A family of embedded Runge-Kutta formulae" (1980): the fifth-order
solution goes on, the difference of the two is the error, and the last slope of a step is the first of the next.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from diffkit import DiffkitError

NODES = (1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0)
STAGES = (
    (1 / 5,),
    (3 / 40, 9 / 40),
    (44 / 45, -56 / 15, 32 / 9),
    (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
    (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
)
"""The last row is the solution of order 5, so that its slope serves the next step."""
ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)
FIRST = 0.02
"""The first step tried, as a share of the whole."""

Slope = Callable[[float, Tensor], Tensor]


def integrate(slope: Slope, y: Tensor, start: float, end: float, *, rtol: float, atol: float, limit: int) -> Tensor:
    """Return the solution at ``end`` of dy/dt = ``slope(t, y)`` with value ``y`` at ``start``.

    All items of the batch take the same steps; a step is as long as the worst of them allows.

    Args:
        slope: the right-hand side; a float and a state ``(batch, k)`` to the slope of the state.
        y: the state at ``start``, ``(batch, k)``.
        start: where to begin.
        end: where to end, on either side.
        rtol: the error allowed in a step, relative to the state.
        atol: the error allowed besides.
        limit: the largest number of calls of ``slope``.

    Raises:
        DiffkitError: where ``limit`` calls do not reach ``end``, or the slope is not finite.
    """
    t, h = start, FIRST * (end - start)
    first, calls = slope(start, y), 1
    while t != end:
        if calls + 6 > limit:
            raise DiffkitError(
                f"the tolerance rtol={rtol:g} is not reached within {limit} evaluations; raise it, or the limit"
            )
        reached = end if abs(end - t) <= abs(h) * (1 + 1e-9) else t + h
        h = reached - t
        slopes = [first]
        for node, weights in zip(NODES, STAGES, strict=True):
            y_then = y + h * _combined(weights, slopes)
            slopes.append(slope(reached if node == 1 else t + node * h, y_then))
        calls += 6
        scale = atol + rtol * torch.maximum(y.abs(), y_then.abs())
        error = ((h * _combined(ERROR, slopes)) / scale).square().mean(1).max().sqrt().item()
        if not math.isfinite(error) and abs(h) < 1e-10 * abs(end - start):
            raise DiffkitError("the model's estimate is not finite; use a run whose training did not diverge")
        if error <= 1:
            t, y, first = reached, y_then, slopes[-1]
        h *= min(5.0, max(0.2, 0.9 * error**-0.2)) if 0 < error < math.inf else (5.0 if error == 0 else 0.2)
    return y


def _combined(weights: tuple[float, ...], slopes: list[Tensor]) -> Tensor:
    total = weights[0] * slopes[0]
    for weight, slope in zip(weights[1:], slopes[1:], strict=True):
        if weight:
            total = torch.add(total, slope, alpha=weight)
    return total
