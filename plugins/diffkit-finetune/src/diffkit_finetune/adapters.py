"""What a layer's weight goes through before the layer computes with it."""

from math import sqrt

import torch
from torch import Tensor, nn


def weight_of(layer: nn.Module) -> nn.Parameter | None:
    """Return the weight of a layer where it is a matrix or a kernel, its first axis the outputs; else none."""
    weight = layer._parameters.get("weight")
    return weight if weight is not None and weight.ndim > 1 else None


class Added(nn.Module):
    """W + scale · B A, with a kernel W taken as a matrix of one row an output channel.

    Args:
        weight: W.
        rank: of B A, at most that of W.
        scale: see above.
        generator: of the first A.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = len(weight), weight[0].numel()
        rank = min(rank, rows, columns)
        first = torch.randn(rank, columns, generator=generator) / sqrt(columns)  # A x is of the size of x
        self.down = nn.Parameter(first.to(weight))
        self.up = nn.Parameter(weight.new_zeros(rows, rank))
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        """Return what takes the place of ``weight``, of its shape."""
        return torch.addmm(weight.flatten(1), self.up, self.down, alpha=self.scale).reshape(weight.shape)


class Turned(Added):
    """m V / ‖V‖ for V = W + scale · B A, with the norm of each row and a trained length m, at first that of W's row.

    A row of zeros has no direction; it becomes that of V.
    """

    def __init__(self, weight: Tensor, rank: int, scale: float, generator: torch.Generator) -> None:
        super().__init__(weight, rank, scale, generator)
        self.length = nn.Parameter(lengths(weight.detach()))

    def forward(self, weight: Tensor) -> Tensor:
        """Return what takes the place of ``weight``, of its shape."""
        whole = super().forward(weight)
        least = torch.finfo(whole.dtype).tiny
        factor = torch.where(self.length == 0, 1.0, self.length / lengths(whole.detach()).clamp_min(least))
        return whole * factor.reshape(-1, *[1] * (weight.ndim - 1))


def lengths(weight: Tensor) -> Tensor:
    """Return the norm of each row."""
    return torch.linalg.vector_norm(weight.flatten(1), dim=1)
