"""From one resolution to the next without aliasing: a low-pass filter before positions are left out."""

from collections.abc import Sequence
from itertools import product
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import conv1d, conv2d, conv3d, pad

CONVOLVE = {1: conv1d, 2: conv2d, 3: conv3d}
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
