"""The trace of a denoiser's Jacobian, exact or estimated, with the estimate itself from the same evaluation."""

from collections.abc import Callable

import torch
from torch import Tensor

Trace = Callable[[Callable[[Tensor], Tensor], Tensor], tuple[Tensor, Tensor]]
"""Takes a function and x ``(batch, …)``; returns its value at x and the trace of its Jacobian, ``(batch,)``."""


def exact_trace(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``function(x)`` and tr ∂f/∂x, by one backward pass for every value of an item."""
    value, x = _recorded(function, x)
    columns = value.flatten(1).unbind(1)
    trace = torch.zeros(len(x), dtype=x.dtype, device=x.device)
    for i, column in enumerate(columns):
        (row,) = torch.autograd.grad(column.sum(), x, retain_graph=i + 1 < len(columns))
        trace += row.flatten(1)[:, i]
    return value.detach(), trace


class HutchinsonTrace:
    """The mean of vᵀ (∂f/∂x) v over fixed probes v, one backward pass each: unbiased where E[v vᵀ] = I.

    Hutchinson, "A stochastic estimator of the trace of the influence matrix" (1989). Probes stay the same along a
    trajectory, so that the differential equation has one smooth solution.

    Args:
        probes: each of the shape of x.
    """

    def __init__(self, probes: list[Tensor]) -> None:
        self.probes = probes

    def __call__(self, function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``function(x)`` and the estimate of tr ∂f/∂x."""
        value, x = _recorded(function, x)
        estimates = []
        for i, probe in enumerate(self.probes):
            (product,) = torch.autograd.grad(value, x, probe, retain_graph=i + 1 < len(self.probes))
            estimates.append((product * probe).flatten(1).sum(1))
        return value.detach(), torch.stack(estimates).mean(0)


def _recorded(function: Callable[[Tensor], Tensor], x: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``function(x)`` with what is needed to differentiate it, and the x to differentiate by."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        return function(x), x
