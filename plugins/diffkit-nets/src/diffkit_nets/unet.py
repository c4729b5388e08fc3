"""A UNet for 1-, 2- and 3-D data."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffkit import DataSpec, DiffkitError
from diffkit_nets.condition import by_frame
from diffkit_nets.hourglass import Hourglass
from diffkit_nets.layers import CONVOLUTIONS, Attention, CrossAttention, check_dropout, convolution, group_norm, zero
from diffkit_nets.levels import Size, levels_of


class UNet(Hourglass):
    """Residual convolutions at several resolutions, with skip connections: a good first choice for any data.

    The layout of Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), kept small: the noise level
    and the label scale and shift every block's normalised features, blocks and attention start as the identity, and the
    output starts as zero. From one level to the next the longest axes are halved (rounding up) until all are equal, so
    clips keep their few frames while their pictures shrink. Where it attends, it attends to sequences, too.

    Args:
        spec: what the network models: 1, 2 or 3 axes of any length.
        size: ``width`` and ``blocks`` where they are not given: 32 and 1, 64 and 2, 128 and 2, 192 and 3.
        width: channels at the first level.
        multipliers: for each level, its channels divided by ``width``; none takes 1, 2, 3, 4, 4 as far as the longest
            side exceeds 4.
        blocks: residual blocks a level, on the way down and on the way up.
        attention: the levels (from 0) with attention, ``[]`` for no level; none is those below the first with a
            longest side of at most 32 in audio, 16 in images and 6 in video, but more than 4, all of which convolutions
            see anyway.
        patch: folds patches of the data into channels first, which makes large data cheap: one side for each axis, or
            one for all; none folds sides beyond 512 in audio, 64 in images and 32 in video.
        resample: how the resolution changes: ``conv``, by convolutions with a stride and by repeating positions, or
            ``blur``, with a low-pass filter both ways, so that what is small moves on smoothly.
        temporal: how video is seen: ``full``, as a volume, or ``factorised``, each frame as a picture and each pixel
            through all frames in turn; the latter takes attention, levels and patches by the frame's shape.
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
        attention: list[int] | None = None,
        patch: list[int] | None = None,
        resample: Literal["conv", "blur"] = "conv",
        temporal: Literal["full", "factorised"] = "full",
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        apart = temporal == "factorised"
        if apart and spec.rank != 3:
            raise DiffkitError(f"temporal={temporal} is for video, but the data has {spec.rank} axes; leave it out")
        levels = levels_of(spec, size, width, multipliers, blocks, attention, patch, apart)
        check_dropout(dropout)
        vector = 4 * levels.width
        told = any(one.kind == "sequence" for one in spec.conditions)

        def block(level: int, inner: int, outer: int) -> Block:
            attends = level in levels.attentive
            given = levels.shapes[level], inner, outer, vector, dropout, attends, attends and told
            return ClipBlock(spec.shape[0] // levels.patch[0], *given) if apart else Block(*given)

        super().__init__(
            spec,
            levels,
            vector,
            block,
            blur=resample == "blur",
            checkpoint=checkpoint,
        )
        self.apart = apart

    def enter(self, x: Tensor) -> Tensor:
        """Return clips as pictures where frames are apart."""
        return x.transpose(1, 2).flatten(0, 1) if self.apart else x

    def leave(self, h: Tensor, batch: int) -> Tensor:
        """Return pictures as clips again."""
        return h.reshape(batch, -1, *h.shape[1:]).transpose(1, 2) if self.apart else h


class Block(nn.Module):
    """Two convolutions around a scale and shift of the normalised features, added to the input.

    Args:
        shape: the spatial shape of the data.
        inner: channels of the input.
        outer: channels of the output.
        vector: the length of the condition's vector.
        dropout: see :class:`UNet`.
        attention: whether self-attention follows.
        told: whether attention to tokens follows.
    """

    def __init__(
        self,
        shape: Sequence[int],
        inner: int,
        outer: int,
        vector: int,
        dropout: float,
        attention: bool,
        told: bool = False,
    ) -> None:
        super().__init__()
        self.apart = False
        self.norm = group_norm(inner)
        self.enter = convolution(shape, inner, outer)
        self.modulation = nn.Linear(vector, 2 * outer)
        self.modulated = group_norm(outer, affine=False)
        self.dropout = nn.Dropout(dropout)
        self.leave = zero(convolution(shape, outer, outer))
        self.skip = nn.Identity() if inner == outer else CONVOLUTIONS[len(shape)](inner, outer, 1)
        self.attention = Attention(shape, outer) if attention else None
        self.told = CrossAttention(len(shape), outer, vector) if told else None

    def forward(self, x: Tensor, vector: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return ``(batch · parts, outer, *shape)`` of ``x`` ``(batch · parts, inner, *shape)``.

        ``vector`` ``(batch, vector)`` and ``tokens`` ``(batch, length, vector)`` are for all parts of an item; vectors
        ``(batch, frames, vector)`` are for its frames, which are its parts or the first axis of ``shape``.
        """
        batch = len(vector)
        scale, shift = self._modulated(x, vector).chunk(2, 2)
        h = self.modulated(self.enter(silu(self.norm(x)))).unflatten(0, (batch, -1))
        h = torch.addcmul(shift, h, 1 + scale).flatten(0, 1)
        h = self.skip(x) + self.leave(self.dropout(silu(h)))
        if self.attention is not None:
            h = self.attention(h, batch)
        return h if self.told is None else self.told(h, tokens)

    def _modulated(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return ``(batch, parts or 1, 2 outer, frames or 1, …)``, to multiply features by."""
        places = [1] * (x.ndim - 2)
        if vector.ndim == 2:
            return self.modulation(vector).reshape(len(vector), 1, -1, *places)
        if self.apart:
            frames = by_frame(vector, len(x) // len(vector))
            return self.modulation(frames).reshape(*frames.shape[:2], -1, *places)
        along = self.modulation(by_frame(vector, x.shape[2])).mT[:, None]
        return along.reshape(*along.shape, *places[1:])


class ClipBlock(Block):
    """A block for each frame, and then one along time for each position, which starts as the identity.

    Args:
        frames: of a clip.
        shape: of a frame.
        inner: see :class:`Block`, as the others.
    """

    def __init__(
        self,
        frames: int,
        shape: Sequence[int],
        inner: int,
        outer: int,
        vector: int,
        dropout: float,
        attention: bool,
        told: bool,
    ) -> None:
        super().__init__(shape, inner, outer, vector, dropout, attention, told)
        self.apart = True
        self.across = Block((frames,), outer, outer, vector, dropout, attention)

    def forward(self, x: Tensor, vector: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return ``(batch · frames, outer, *shape)`` of ``x`` ``(batch · frames, inner, *shape)``."""
        h = super().forward(x, vector, tokens)
        clips = h.reshape(len(vector), -1, h.shape[1], h[0, 0].numel()).transpose(1, 3)
        mixed = self.across(clips.flatten(0, 1), vector).reshape(clips.shape)
        return mixed.transpose(1, 3).reshape(h.shape)
