"""The exponential Adams method in a coordinate of the data."""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit_samplers.linear import Weights
from diffkit_samplers.multistep import Multistep
from diffkit_samplers.orders import chosen


class ExpAdams(Multistep):
    """An exponential Adams method with a free corrector, its polynomial in u = c/√(c² + σ²/α²).

    Along a trajectory the estimate of Gaussian data of standard deviation c is a straight line in u, so that two
    estimates give the flow exactly from any level to any other. In λ it is curved everywhere, and endless; u ends at 1,
    where the data is clean, and the last step extrapolates to it.

    Predicted with the last ``order`` estimates, corrected with one more (see :class:`~diffkit_samplers.Multistep`):
    order ``order + 1`` with one evaluation a step. The polynomial is that of Adams and Bashforth in the exponential
    form of Hochbruck & Ostermann, "Exponential Integrators" (2010), section 2.5.

    Args:
        steps: the number of steps.
        order: how many estimates a step looks at, from 1 to 6; none is 4. The first steps look at those there are.
        scale: c, the standard deviation of the data; the spec's where none is given, 0.5 without a spec.
        fitted: weights that were fitted to a model, as ``diffkit calibrate`` does. A row a step: λ at its start, the
            weight of x and those of the estimates, the latest first, once x is divided by α at both ends. They are
            taken on a path of just these levels to clean data; on any other the method's own are.
        spec: what the network models.
    """

    extra = 1
    amplification = 200.0

    def __init__(
        self,
        steps: int = 20,
        order: int | None = None,
        scale: float | None = None,
        fitted: list[list[float]] | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(steps, chosen(order, 4, 6, steps), corrector=True)
        self.scale = scale if scale is not None else spec.std if spec else 0.5
        if not 0 < self.scale < float("inf"):
            raise DiffkitError(
                f"scale={scale} is not a standard deviation of data; give a number above 0, or none for the data's own"
            )
        self.fitted = [] if fitted is None else [[float(value) for value in row] for row in fitted]
        if not all(2 < len(row) <= 2 + i for i, row in enumerate(self.fitted, 1)):
            raise DiffkitError(
                "a row of fitted is λ, the weight of x and those of as many estimates as there are by then; leave it "
                "to diffkit calibrate, or to none"
            )
        self.history = max([self.history, *(len(row) - 3 for row in self.fitted)])

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step: those that were fitted, on the path that they were fitted to."""
        lams = [row[0] for row in self.fitted] + [math.inf]
        if len(lams) != len(path) or any(map(_differ, lams, (level.lam for level in path))):
            return super().prepare(path)
        return [
            Weights((then.alpha / now.alpha * row[1], *(then.alpha * weight for weight in row[2:])))
            for (now, then), row in zip(pairwise(path), self.fitted, strict=True)
        ]

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return u - 1 at levels ``lam``, which loses no digits where there is little noise; 0 at λ=∞."""
        square = torch.exp(-2 * lam) / self.scale**2
        return -square / (1 + square + (1 + square).sqrt())


def _differ(a: float, b: float) -> bool:
    return not math.isclose(a, b, rel_tol=1e-6, abs_tol=1e-6)
