"""Linear systems that are known by their products: a batch of them at once, each with steps of its own."""

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


def minimal_residuals(apply: Callable[[Tensor], Tensor], b: Tensor, iterations: int) -> Tensor:
    """Return v, of the shape of ``b`` ``(batch, …)``, that leaves the least of ``b - apply(v)`` in the Krylov space.

    Saad & Schultz, "GMRES" (1986). The matrix may be anything, and what is left never grows with the iterations;
    conjugate gradients, at half the memory, run away where the matrix is not symmetric or not positive.

    Args:
        apply: a matrix for every item, applied to a batch.
        b: the right-hand sides.
        iterations: how many products to spend; exact from as many as an item has values.
    """
    flat, eps = b.flatten(1), torch.finfo(b.dtype).eps
    size = flat.norm(dim=1)
    basis = [_unit(flat, size, 0 * size)]
    heads = b.new_zeros(len(b), iterations + 1, iterations)
    for k in range(iterations):
        w = apply(basis[k].reshape(b.shape)).flatten(1)
        whole = w.norm(dim=1)
        for i, v in enumerate(basis):
            heads[:, i, k] = (w * v).sum(1)
            w = w - heads[:, i, k, None] * v
        left = w.norm(dim=1)
        heads[:, k + 1, k] = torch.where(left > 10 * eps * whole, left, 0.0)
        basis.append(_unit(w, left, 10 * eps * whole))
    shares = torch.linalg.pinv(heads, rtol=10 * eps)[:, :, 0] * size[:, None]
    return torch.einsum("nk,nkm->nm", shares, torch.stack(basis[:-1], 1)).reshape(b.shape)


def _unit(w: Tensor, size: Tensor, least: Tensor) -> Tensor:
    """Return vectors of length one, and none where nothing but rounding is left."""
    going = (size > least)[:, None]
    return torch.where(going, w / torch.where(going, size[:, None], 1.0), 0.0)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).flatten(1).sum(1).reshape(-1, *[1] * (a.ndim - 1))
