"""Layers that keep the magnitude of what goes through them: the root mean square of features stays 1.

Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), appendix B. Magnitudes are
expected ones, for features that are independent; no layer adds a constant.
"""

from collections.abc import Callable, Sequence
from math import prod, sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, linear, silu

APPLY: dict[int, Callable[..., Tensor]] = {0: linear, 1: conv1d, 2: conv2d, 3: conv3d}
"""By the number of a kernel's axes, what applies it."""
LEAST = 1e-4
"""Added to a magnitude that is divided by."""
SILU = 0.596
"""The magnitude of silu(z) for a standard normal z (eq. 81)."""


def unit(x: Tensor, axes: Sequence[int]) -> Tensor:
    """Return ``x`` divided by its root mean square over ``axes`` (eq. 53 and 54)."""
    norm = torch.linalg.vector_norm(x, dim=tuple(axes), keepdim=True, dtype=torch.float32)
    count = prod([x.shape[axis] for axis in axes])
    return x / (norm / sqrt(count) + LEAST).to(x.dtype)


def mp_silu(x: Tensor) -> Tensor:
    """Return silu(x) at the magnitude of ``x``."""
    return silu(x) / SILU


def mp_sum(a: Tensor, b: Tensor, share: float) -> Tensor:
    """Return the mixture of ``a`` and the ``share`` of ``b``, at their magnitude (eq. 88)."""
    return torch.lerp(a, b, share) / sqrt((1 - share) ** 2 + share**2)


def mp_cat(a: Tensor, b: Tensor) -> Tensor:
    """Return the channels of both, each contributing as much to the magnitude whatever their number (eq. 103)."""
    n, m = a.shape[1], b.shape[1]
    scale = sqrt((n + m) / 2)
    return torch.cat((scale / sqrt(n) * a, scale / sqrt(m) * b), 1)


class Unit(nn.Module):
    """A linear layer or a convolution without bias, whose filters are vectors of a fixed length.

    The stored weights are brought back to unit magnitude after every step (forced weight normalisation, eq. 66), so
    that a learning rate means the same relative change at any time; the gradient is projected by the division itself.

    Args:
        inner: channels of the input.
        outer: channels of the output.
        kernel: the sides of the kernel, none for a linear layer; the shape of the data is kept.
    """

    def __init__(self, inner: int, outer: int, kernel: Sequence[int] = ()) -> None:
        super().__init__()
        weight = torch.randn(outer, inner, *kernel)
        self.weight = nn.Parameter(unit(weight, range(1, weight.ndim)))
        self.padding = {"padding": [k // 2 for k in kernel]} if kernel else {}

    def forward(self, x: Tensor, gain: Tensor | float = 1.0) -> Tensor:
        """Return ``gain`` times the layer's output."""
        weight = self.weight
        scaled = unit(weight, range(1, weight.ndim)) * (gain / sqrt(weight[0].numel()))
        return APPLY[len(self.padding.get("padding", ()))](x, scaled.to(x.dtype), **self.padding)

    @torch.no_grad()
    def constrain(self) -> None:
        """Bring the weights back to unit magnitude, unless they are frozen or made of others."""
        weight = self._parameters.get("weight")
        if weight is not None and weight.requires_grad:
            weight.copy_(unit(weight, range(1, weight.ndim)))
