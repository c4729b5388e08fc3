"""Weighted sums of tensors, of which the steps of solvers are made, in as few operations and copies as there can be."""

from collections.abc import Iterable

import torch
from torch import Tensor

_ZERO = torch.zeros((), device="cpu")


def scaled(x: Tensor, factor: float) -> Tensor:
    """Return ``factor`` times ``x``; to multiply by a float, torch makes a tensor of it, which costs twice as much."""
    return torch.add(_ZERO, x, alpha=factor)


def summed(weights: Iterable[float], tensors: Iterable[Tensor]) -> Tensor:
    """Return the sum of ``tensors`` by their ``weights``, a new tensor; those beyond the last weight are left out."""
    terms = zip(weights, tensors, strict=False)
    weight, tensor = next(terms)
    total = scaled(tensor, weight)
    for weight, tensor in terms:
        if weight:
            total.add_(tensor, alpha=weight)
    return total
