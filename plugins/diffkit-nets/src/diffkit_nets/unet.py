"""A UNet for 1-, 2- and 3-D data."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, silu

from diffkit import DataSpec, DiffkitError
from diffkit_nets.condition import Condition
from diffkit_nets.folding import fold, patch_for, unfold
from diffkit_nets.layers import (
    CONVOLUTIONS,
    Attention,
    check_at_least,
    check_dropout,
    check_rank,
    convolution,
    group_norm,
    zero,
)

LONGEST = {1: 512, 2: 64, 3: 32}
"""By rank, the longest side at which convolutions work unless a patch is asked for."""
SMALLEST, DEEPEST, WIDEST = 4, 5, 4
"""Without ``multipliers``: the longest side of the last level, the most levels, and the largest multiplier."""
ATTENTIVE = {1: 32, 2: 16, 3: 6}
"""By rank, the longest side of a level with attention unless ``attention`` says where."""


class UNet(nn.Module):
    """Residual convolutions at several resolutions, with skip connections: a good first choice for any data.

    The layout of Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), kept small: the noise level
    and the label scale and shift every block's normalised features, blocks and attention start as the identity, and the
    output starts as zero. From one level to the next the longest axes are halved (rounding up) until all are equal, so
    clips keep their few frames while their pictures shrink.

    Args:
        spec: what the network models: 1, 2 or 3 axes of any length.
        width: channels at the first level.
        multipliers: for each level, its channels divided by ``width``; none takes 1, 2, 3, 4, 4 as far as the longest
            side exceeds 4.
        blocks: residual blocks a level, on the way down and on the way up.
        attention: the levels (from 0) with attention, ``[]`` for no level; none is those below the first with a
            longest side of at most 32 in audio, 16 in images and 6 in video, but more than 4, all of which convolutions
            see anyway.
        patch: folds patches of the data into channels first, which makes large data cheap: one side for each axis, or
            one for all; none folds sides beyond 512 in audio, 64 in images and 32 in video.
        dropout: the share of features dropped within blocks while training.
        label_dropout: the share of labels replaced by the null label while training, which guidance needs.

    Raises:
        DiffkitError: where an option is out of range or does not fit the shape.
    """

    def __init__(
        self,
        spec: DataSpec,
        width: int = 32,
        multipliers: list[int] | None = None,
        blocks: int = 1,
        attention: list[int] | None = None,
        patch: list[int] | None = None,
        dropout: float = 0.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_rank(spec)
        check_at_least(1, width=width, blocks=blocks)
        check_dropout(dropout)
        self.spec, self.patch = spec, patch_for(spec, patch, LONGEST[spec.rank])
        shape = tuple(side // p for side, p in zip(spec.shape, self.patch, strict=True))
        shapes = _shapes(shape, multipliers)
        widths = [width * m for m in multipliers or [min(i + 1, WIDEST) for i in range(len(shapes))]]
        attentive = _attentive(shapes, attention)

        vector = 4 * width
        self.condition = Condition(spec, vector, label_dropout)
        depth = spec.channels * prod(self.patch)
        self.first = convolution(shape, depth, width)

        def block(inner: int, outer: int, level: int) -> Block:
            return Block(shapes[level], inner, outer, vector, dropout, level in attentive)

        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        channels, skips = width, []
        for level, outer in enumerate(widths):
            if level:
                stride = tuple(-(-a // b) for a, b in zip(shapes[level - 1], shapes[level], strict=True))
                self.shrink.append(convolution(shapes[level - 1], channels, channels, stride))
            for _ in range(blocks):
                self.down.append(block(channels, outer, level))
                channels = outer
                skips.append(channels)
        self.middle = block(channels, channels, len(widths) - 1)
        for level, outer in reversed(list(enumerate(widths))):
            for _ in range(blocks):
                self.up.append(block(channels + skips.pop(), outer, level))
                channels = outer
            if level:
                self.grow.append(convolution(shapes[level - 1], channels, channels))
        self.blocks = blocks
        self.norm = group_norm(channels)
        self.last = zero(convolution(shape, channels, depth))

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        layers = [block.attention for block in (*self.down, self.middle, *self.up)]
        return [layer.attend for layer in layers if isinstance(layer, Attention)]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None) -> Tensor:
        """Return an output shaped as ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``."""
        vector = self.condition(lam, label)
        h = self.first(fold(x, self.patch))
        skips = []
        for i, block in enumerate(self.down):
            if i and i % self.blocks == 0:
                h = self.shrink[i // self.blocks - 1](h)
            h = block(h, vector)
            skips.append(h)
        h = self.middle(h, vector)
        for i, block in enumerate(self.up):
            skip = skips.pop()
            if i and i % self.blocks == 0:
                h = self.grow[i // self.blocks - 1](interpolate(h, skip.shape[2:]))
            h = block(torch.cat((h, skip), 1), vector)
        return unfold(self.last(silu(self.norm(h))), self.patch)


class Block(nn.Module):
    """Two convolutions around a scale and shift of the normalised features, added to the input.

    Args:
        shape: the spatial shape of the data.
        inner: channels of the input.
        outer: channels of the output.
        vector: the length of the condition's vector.
        dropout: see :class:`UNet`.
        attention: whether self-attention follows.
    """

    def __init__(
        self, shape: Sequence[int], inner: int, outer: int, vector: int, dropout: float, attention: bool
    ) -> None:
        super().__init__()
        self.norm = group_norm(inner)
        self.enter = convolution(shape, inner, outer)
        self.modulation = nn.Linear(vector, 2 * outer)
        self.modulated = group_norm(outer, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.leave = zero(convolution(shape, outer, outer))
        self.skip = nn.Identity() if inner == outer else CONVOLUTIONS[len(shape)](inner, outer, 1)
        self.attention = Attention(shape, outer) if attention else nn.Identity()

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return ``(batch, outer, *shape)`` of ``x`` ``(batch, inner, *shape)`` and ``vector`` ``(batch, vector)``."""
        scale, shift = self.modulation(vector).reshape(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        h = self.enter(silu(self.norm(x)))
        h = torch.addcmul(shift, self.modulated(h), 1 + scale)
        h = self.leave(self.dropout(silu(h)))
        return self.attention(self.skip(x) + h)


def _shapes(shape: tuple[int, ...], multipliers: Sequence[int] | None) -> list[tuple[int, ...]]:
    """Return the shape of each level: as many as ``multipliers`` asks for, or as suit the shape of the first."""
    if multipliers is not None and (not multipliers or min(multipliers) < 1):
        raise DiffkitError(f"multipliers={list(multipliers)} has to name one or more levels, each 1 or more: [1, 2, 2]")
    shapes = [shape]
    while len(shapes) < (DEEPEST if multipliers is None else len(multipliers)):
        longest = max(shapes[-1])
        if multipliers is None and longest <= SMALLEST:
            break
        if longest == 1:
            raise DiffkitError(
                f"multipliers={list(multipliers or ())} asks for {len(multipliers or ())} levels, but data of "
                f"{' x '.join(map(str, shape))} (patches) can be halved only {len(shapes) - 1} times; leave some out"
            )
        shapes.append(tuple(-(-side // 2) if 2 * side > longest else side for side in shapes[-1]))
    return shapes


def _attentive(shapes: Sequence[tuple[int, ...]], attention: Sequence[int] | None) -> set[int]:
    """Return the levels with attention."""
    if attention is None:
        longest = ATTENTIVE[len(shapes[0])]
        return {i for i, shape in enumerate(shapes) if i > 0 and SMALLEST < max(shape) <= longest}
    if not all(0 <= level < len(shapes) for level in attention):
        raise DiffkitError(
            f"attention={list(attention)} names a level that is not there; they are 0 to {len(shapes) - 1}"
        )
    return set(attention)
