"""Conjugate gradients on a batch of systems at once, each with steps of its own."""

from collections.abc import Callable

import torch
from torch import Tensor


def conjugate_gradients(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Return v with ``apply(v)`` = ``b``, of the shape of ``b`` ``(batch, …)``.

    Hestenes & Stiefel (1952). Exact after as many iterations as the matrix has distinct eigenvalues; a system that is
    solved already stands still, so that nothing has to be asked of the device.

    Args:
        apply: a symmetric positive matrix for every item, applied to a batch.
        b: the right-hand sides.
        iterations: how many products to spend at most.
    """
    v, r = torch.zeros_like(b), b
    p, size = r, _dot(r, r)
    least = torch.finfo(b.dtype).eps ** 2 * size
    for _ in range(iterations):
        q = apply(p)
        curvature = _dot(p, q)
        going = (size > least) & (curvature > 0)
        length = torch.where(going, size / torch.where(going, curvature, 1.0), 0.0)
        v, r = v + length * p, r - length * q
        size_then = _dot(r, r)
        p = r + torch.where(going, size_then / torch.where(going, size, 1.0), 0.0) * p
        size = size_then
    return v


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))
