"""A UNet of ConvNeXt blocks, convolutions only, for 1-, 2- and 3-D data."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu

from diffkit import DataSpec
from diffkit_nets.condition import by_frame
from diffkit_nets.hourglass import Hourglass
from diffkit_nets.layers import CONVOLUTIONS, check_dropout, zero
from diffkit_nets.levels import Size, levels_of

KERNEL = 7
"""The side of depthwise kernels."""
EXPANSION = 4
"""How many times wider a block is within."""


class ConvNeXt(Hourglass):
    """A UNet whose blocks see far with depthwise kernels of 7 and mix channels position by position.

    The blocks are those of Woo et al., "ConvNeXt V2" (2023): a depthwise convolution, a layer norm, an inverted
    bottleneck with global response normalisation; the condition scales and shifts the norm and gates the branch, which
    starts as nothing. Without attention its cost is linear in the number of positions; sequences enter the condition.

    Args:
        spec: what the network models: 1, 2 or 3 axes of any length.
        size: ``width`` and ``blocks`` where they are not given: 32 and 1, 64 and 2, 128 and 2, 192 and 3.
        width: channels at the first level.
        multipliers: see :class:`~diffkit_nets.UNet`, as ``patch`` and ``resample``.
        blocks: blocks a level, on the way down and on the way up.
        patch: folds patches of the data into channels first.
        resample: how the resolution changes: ``conv`` or ``blur``.
        dropout: the share of features dropped within blocks while training.
        checkpoint: whether blocks are computed twice to keep less for the backward pass.

    Raises:
        DiffkitError: where an option is out of range or does not fit the shape.
    """

    def __init__(
        self,
        spec: DataSpec,
        size: Size = "xs",
        width: int | None = None,
        multipliers: list[int] | None = None,
        blocks: int | None = None,
        patch: list[int] | None = None,
        resample: Literal["conv", "blur"] = "conv",
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        levels = levels_of(spec, size, width, multipliers, blocks, [], patch)
        check_dropout(dropout)
        vector = 4 * levels.width

        def block(level: int, inner: int, outer: int) -> Block:
            return Block(levels.shapes[level], inner, outer, vector, dropout)

        super().__init__(
            spec,
            levels,
            vector,
            block,
            blur=resample == "blur",
            checkpoint=checkpoint,
        )

    def enter(self, x: Tensor) -> Tensor:
        """Return pictures with their channels side by side, as blocks want them: a fifth faster on a CPU.

        The weights stay as they are: fused optimizers take no moments that lie in memory in another order.
        """
        return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


class Block(nn.Module):
    """A depthwise convolution and an inverted bottleneck, scaled, shifted and gated by the condition.

    Args:
        shape: the spatial shape of the data.
        inner: channels of the input.
        outer: channels of the output.
        vector: the length of the condition's vector.
        dropout: see :class:`ConvNeXt`.
    """

    def __init__(self, shape: Sequence[int], inner: int, outer: int, vector: int, dropout: float) -> None:
        super().__init__()
        rank = len(shape)
        kernel = [min(KERNEL, 2 * side - 1) for side in shape]  # no further than there are neighbours
        self.skip = nn.Identity() if inner == outer else CONVOLUTIONS[rank](inner, outer, 1)
        self.look = CONVOLUTIONS[rank](outer, outer, kernel, padding=[k // 2 for k in kernel], groups=outer)
        self.norm = nn.LayerNorm(outer, elementwise_affine=False)
        self.modulation = nn.Linear(vector, 2 * outer)
        self.gate = zero(nn.Linear(vector, outer))
        self.widen = nn.Linear(outer, EXPANSION * outer)
        self.response = Response(EXPANSION * outer)
        self.dropout = nn.Dropout(dropout)
        self.narrow = nn.Linear(EXPANSION * outer, outer)

    def forward(self, x: Tensor, vector: Tensor, tokens: None = None) -> Tensor:
        """Return ``(batch, outer, *shape)`` of ``x`` ``(batch, inner, *shape)`` and ``vector`` ``(batch, vector)``.

        Vectors ``(batch, frames, vector)`` are for the frames of a clip.
        """
        x = self.skip(x)
        places = [1] * (x.ndim - 2)
        if vector.ndim > 2:
            vector, places[0] = by_frame(vector, x.shape[2]), x.shape[2]
        scale, shift = self.modulation(vector).reshape(len(x), *places, -1).chunk(2, -1)
        h = self.norm(self.look(x).movedim(1, -1))
        h = self.response(gelu(self.widen(torch.addcmul(shift, h, 1 + scale))))
        h = self.narrow(self.dropout(h)) * self.gate(vector).reshape(len(x), *places, -1)
        return x + h.movedim(-1, 1)


class Response(nn.Module):
    """Global response normalisation: channels that respond more than others over all positions are made to stand out.

    It starts as the identity.

    Args:
        channels: of input and output, the last axis.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale, self.shift = nn.Parameter(torch.zeros(channels)), nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``(batch, *shape, channels)`` of ``x`` shaped alike."""
        norm = torch.linalg.vector_norm(x, dim=tuple(range(1, x.ndim - 1)), keepdim=True)
        relative = norm / (norm.mean(-1, keepdim=True) + 1e-6)
        return torch.addcmul(self.shift, x, 1 + self.scale * relative)
