"""From one resolution to the next, and back."""

from collections.abc import Callable, Sequence
from itertools import product
from math import prod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import (
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    interpolate,
    pad,
)

from diffkit_nets.layers import convolution

CONVOLVE: dict[int, Callable[..., Tensor]] = {1: conv1d, 2: conv2d, 3: conv3d}
TRANSPOSED: dict[int, Callable[..., Tensor]] = {1: conv_transpose1d, 2: conv_transpose2d, 3: conv_transpose3d}
TAPS = {1: (1.0,), 2: (1 / 8, 3 / 8, 3 / 8, 1 / 8)}
"""By stride, the filter along an axis: none, or the one of Karras et al., "Elucidating the Design Space of
Diffusion-Based Generative Models" (2022), which has no answer to values that alternate in sign."""
SMOOTH = {1: "linear", 2: "bilinear", 3: "trilinear"}
"""By rank, the interpolation that is the same filter on the way up."""


class Blur(nn.Module):
    """Halves (rounding up) the axes where ``stride`` is 2, after a low-pass filter; the ends are continued.

    Args:
        stride: 1 or 2 for each axis.
    """

    kernel: Tensor

    def __init__(self, stride: Sequence[int]) -> None:
        super().__init__()
        self.stride = tuple(stride)
        taps = [TAPS[s] for s in stride]
        kernel = torch.tensor([prod(weights) for weights in product(*taps)]).reshape(1, 1, *map(len, taps))
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels, *shape)`` at the smaller shape."""
        rank = len(self.stride)
        sides = [(1, 1 + side % 2) if s > 1 else (0, 0) for side, s in zip(x.shape[2:], self.stride, strict=True)]
        x = pad(x, [n for pair in reversed(sides) for n in pair], mode="replicate")
        kernel = self.kernel.to(x.dtype).expand(x.shape[1], *self.kernel.shape[1:])
        return CONVOLVE[rank](x, kernel, stride=self.stride, groups=x.shape[1])


class Grow(nn.Module):
    """Brings data to a finer shape, and convolves it there.

    Where positions are repeated and axes doubled exactly, repeating and convolving are one transposed convolution of
    the coarse data: half of the multiplications and less, and nothing of the finer shape to keep in between.

    Args:
        shape: the finer spatial shape.
        channels: of input and output.
        blur: whether to interpolate, instead of repeating positions.
    """

    def __init__(self, shape: Sequence[int], channels: int, blur: bool) -> None:
        super().__init__()
        layer: Any = convolution(shape, channels, channels)
        self.blur, self.padding = blur, layer.padding
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, x: Tensor, shape: Sequence[int]) -> Tensor:
        """Return ``(batch, channels, *shape)`` of ``x`` at about half of the shape."""
        rank = len(shape)
        stride = [fine // coarse for fine, coarse in zip(shape, x.shape[2:], strict=True)]
        if self.blur or any(s * coarse != fine for s, fine, coarse in zip(stride, shape, x.shape[2:], strict=True)):
            x = interpolate(x, shape, mode=SMOOTH[rank] if self.blur else "nearest")
            return CONVOLVE[rank](x, self.weight, self.bias, padding=self.padding)
        kernel = self.weight.transpose(0, 1).flip([2 + axis for axis in range(rank)])
        for axis, doubled in enumerate(stride):
            if doubled == 2:  # each tap counts at both positions that it was repeated to
                before = [0, 0] * (rank - 1 - axis)
                kernel = pad(kernel, [*before, 0, 1]) + pad(kernel, [*before, 1, 0])
        return TRANSPOSED[rank](x, kernel, self.bias, stride, self.padding)
