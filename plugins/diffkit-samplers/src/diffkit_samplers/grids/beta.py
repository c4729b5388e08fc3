"""Quantiles of a beta distribution."""

import torch
from numpy.polynomial.legendre import leggauss
from torch import Tensor

from diffkit import DiffkitError
from diffkit.contracts.schedule import Schedule

NODES, WEIGHTS = (torch.from_numpy(values) for values in leggauss(8))
LEAST, MOST = 0.2, 100.0
"""The range of the shapes; below, times lie nearer to 0 or 1 than float64 can tell."""


class BetaGrid:
    """t = Q(1 - i/steps), with Q the quantiles of Beta(a, b): with both below 1, more of the steps are at both ends.

    Lee et al., "Beta Sampling is All You Need: Efficient Image Generation Strategy for Diffusion Models using Stepwise
    Spectral Analysis" (2024), whose shapes are the defaults. Beta(1, 1) is ``uniform``. The step to clean data has the
    same probability as the others.

    Args:
        a: the first shape: the smaller, the more of the steps are at little noise.
        b: the second: the smaller, the more of the steps are at much noise.
    """

    def __init__(self, a: float = 0.6, b: float = 0.6) -> None:
        if not (LEAST <= a <= MOST and LEAST <= b <= MOST):
            raise DiffkitError(f"a={a} and b={b} do not shape a grid; give {LEAST} to {MOST:g}, such as a=0.6 b=0.6")
        self.a, self.b = a, b

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        p = 1 - torch.arange(steps, dtype=torch.float64) / steps
        return torch.cat((p[:1], quantiles(self.a, self.b, p[1:])))


def quantiles(a: float, b: float, p: Tensor) -> Tensor:
    """Return the quantiles ``p`` (within 0 and 1) of Beta(a, b), to about 1e-13.

    In y = log(t/(1 - t)) the density is proportional to t^a (1 - t)^b, smooth and with exponential tails. It is
    integrated over short panels by Gauss and Legendre, and the panel of each quantile is searched by Newton's method.
    """
    edges = torch.linspace(-40 / a, 40 / b, 1 + int(80 * (1 / a + 1 / b)), dtype=torch.float64)
    total = torch.cat((torch.zeros(1, dtype=torch.float64), _mass(a, b, edges[:-1], edges[1:]).cumsum(0)))
    wanted = p * total[-1]
    panel = (torch.searchsorted(total, wanted) - 1).clamp(0, len(edges) - 2)
    left, right = edges[panel], edges[panel + 1]
    y = left + (right - left) * (wanted - total[panel]) / (total[panel + 1] - total[panel])
    for _ in range(5):
        miss = total[panel] + _mass(a, b, left, y) - wanted
        y = (y - miss / _density(a, b, y)).clamp(left, right)
    return torch.sigmoid(y)


def _density(a: float, b: float, y: Tensor) -> Tensor:
    return torch.exp(a * torch.nn.functional.logsigmoid(y) + b * torch.nn.functional.logsigmoid(-y))


def _mass(a: float, b: float, left: Tensor, right: Tensor) -> Tensor:
    half = (right - left) / 2
    return half * (_density(a, b, left[:, None] + half[:, None] * (1 + NODES)) @ WEIGHTS)
