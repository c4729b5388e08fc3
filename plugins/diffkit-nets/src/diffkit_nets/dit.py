"""A diffusion transformer for 1-, 2- and 3-D data."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError
from diffkit_nets.condition import Condition, by_frame
from diffkit_nets.folding import fold, patch_for, unfold
from diffkit_nets.inflation import inflate
from diffkit_nets.layers import Attend, check_at_least, check_dropout, recompute, zero
from diffkit_nets.transformer import (
    LEAST,
    LONGEST,
    Attention,
    Gated,
    Places,
    heads_for,
    normalised,
    rotary_angles,
    sized,
    turns,
)
from diffkit_nets.twice import linear_twice

Size = Literal["xs", "s", "b", "l", "xl"]
SIZES = {"xs": (128, 6, 4), "s": (384, 12, 6), "b": (768, 12, 12), "l": (1024, 24, 16), "xl": (1152, 28, 16)}
"""By size, width, blocks and heads; from s on those of Peebles & Xie, table 1."""


class DiT(nn.Module):
    """A transformer on patches, with adaLN-Zero: blocks start as the identity and the output starts as zero.

    Peebles & Xie, "Scalable Diffusion Models with Transformers" (2023), with what has become usual since: rotary
    positions along each axis beside a learned one (Su et al., "RoFormer", 2021), normalised queries and keys (Dehghani
    et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023), and gated SiLU layers (Shazeer, "GLU Variants
    Improve Transformer", 2020). The tokens of sequences join the patches in every block, as in Bao et al., "All are
    Worth Words" (2023).

    Args:
        spec: what the network models, of any rank.
        size: ``width``, ``blocks`` and ``heads`` where they are not given: 128, 6, 4 for ``xs``, and DiT-S to DiT-XL.
        width: features of a patch.
        blocks: attention blocks.
        heads: attention heads, a divisor of ``width``; none makes those of the size, or of a given width heads of
            about 32 features.
        patch: one side for each axis, or one for all; none leaves at most 256 patches of audio, 16 x 16 of images,
            which are of 2 x 2 pixels at least, and 8 x 8 x 8 of video.
        temporal: how video is seen: ``full``, all patches by all, or ``factorised``, each frame as a picture and each
            place through all frames in turn; the latter takes patches by the frame's shape.
        dropout: the share of features dropped within blocks while training.
        checkpoint: whether blocks are computed twice to keep less for the backward pass.

    Raises:
        DiffkitError: where an option is out of range or does not fit the shape.
    """

    angles: Tensor

    def __init__(
        self,
        spec: DataSpec,
        size: Size = "xs",
        width: int | None = None,
        blocks: int | None = None,
        heads: int | None = None,
        patch: list[int] | None = None,
        temporal: Literal["full", "factorised"] = "full",
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.checkpoint, self.apart = spec, checkpoint, temporal == "factorised"
        self.per_frame = spec.rank == 3
        if self.apart and spec.rank != 3:
            raise DiffkitError(f"temporal={temporal} is for video, but the data has {spec.rank} axes; leave it out")
        width, blocks, heads = sized(SIZES, size, width, blocks, heads)
        check_at_least(1, width=width, blocks=blocks)
        check_dropout(dropout)
        rank = spec.rank - self.apart
        self.patch = patch_for(spec, patch, LONGEST.get(rank, 8), LEAST.get(rank, 1))
        if self.apart and patch is None:
            self.patch = (1, *self.patch[1:])
        self.shape = tuple(side // p for side, p in zip(spec.shape, self.patch, strict=True))
        seen = self.shape[1:] if self.apart else self.shape
        heads = heads_for(width, heads, len(seen))
        self.condition = Condition(spec, width, attends=True)
        self.parts, self.positions = prod(self.shape) // prod(seen), prod(seen)
        sides = prod(self.patch)
        self.first = nn.Linear((spec.channels + self.condition.channels) * sides, width)
        self.places = Places(seen, width)
        self.register_buffer("angles", rotary_angles(seen, width // heads, self.condition.tokens), persistent=False)
        if self.apart:
            self.across = nn.Parameter(torch.zeros(self.parts, 1, width))
            self.blocks = nn.ModuleList(ClipBlock(self.parts, seen, width, heads, dropout) for _ in range(blocks))
        else:
            self.blocks = nn.ModuleList(Block(seen, width, heads, dropout) for _ in range(blocks))
        self.modulation = zero(nn.Linear(width, 2 * width))
        self.last = zero(nn.Linear(width, spec.outputs * spec.channels * sides))

    def inflate(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a network for the frames of clips; see :func:`~diffkit_nets.inflate`."""
        inflate(self, weights)

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        return [layer for layer in self.blocks.modules() if isinstance(layer, Attend)]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return outputs for ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``.

        For clips, ``lam`` may be ``(batch, frames)``.
        """
        x, vector, tokens = self.condition.around(x, lam, label, **cond)
        vector = self._spread(vector)
        h = self.first(fold(x, self.patch).flatten(2).mT).unflatten(1, (self.parts, -1)) + self.places()
        if self.apart:
            h = h + self.across
        if tokens is not None:
            h = torch.cat((h, tokens[:, None].expand(-1, self.parts, -1, -1)), 2)
        rotation = turns(self.angles)
        for block in self.blocks:
            h = recompute(block, h, vector, rotation) if self.checkpoint else block(h, vector, rotation)
        scale, shift = self.modulation(vector[:, :, : self.positions]).chunk(2, -1)
        h = linear_twice(self.last, normalised, h[:, :, : self.positions], 1 + scale, shift)
        return unfold(h.flatten(1, 2).mT.reshape(len(x), -1, *self.shape), self.patch)

    def _spread(self, vector: Tensor) -> Tensor:
        """Return ``(batch, parts or 1, positions or 1, width)`` of vectors of items, or of the frames of clips."""
        if vector.ndim == 2:
            return vector[:, None, None]
        frames = by_frame(vector, self.shape[0])
        if self.apart:
            return frames[:, :, None]
        tokens = vector.mean(1, keepdim=True).expand(-1, self.condition.tokens, -1)  # which belong to no frame
        return torch.cat((frames.repeat_interleave(self.positions // self.shape[0], 1), tokens), 1)[:, None]


class Block(nn.Module):
    """Attention and a gated layer, each scaled, shifted and gated by the condition.

    Args:
        shape: the spatial shape of the positions.
        width: of input and output.
        heads: see :class:`DiT`, as ``dropout``.
    """

    def __init__(self, shape: Sequence[int], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.modulation = zero(nn.Linear(width, 6 * width))
        self.attention = Attention(shape, width, heads, dropout)
        self.gated = Gated(width, dropout)

    def forward(self, x: Tensor, vector: Tensor, rotation: Tensor) -> Tensor:
        """Return ``x`` ``(batch, parts, positions, width)`` changed; ``vector`` is ``(batch, 1, 1, width)``.

        Where frames have levels of their own, it is one for each part or position.
        """
        scale, shift, gate, scale2, shift2, gate2 = self.modulation(vector).chunk(6, -1)
        x = torch.addcmul(x, gate, self.attention(x, 1 + scale, shift, rotation))
        return torch.addcmul(x, gate2, self.gated(x, 1 + scale2, shift2))


class ClipBlock(Block):
    """A block for each frame, and then attention along time at each position, which starts as the identity.

    Args:
        frames: of a clip.
        shape: of a frame.
        width: see :class:`Block`, as the others.
    """

    angles: Tensor

    def __init__(self, frames: int, shape: Sequence[int], width: int, heads: int, dropout: float) -> None:
        super().__init__(shape, width, heads, dropout)
        self.across = nn.ModuleDict(
            {
                "modulation": zero(nn.Linear(width, 3 * width)),
                "attention": Attention((frames,), width, heads, dropout),
            }
        )
        self.register_buffer("angles", rotary_angles((frames,), width // heads), persistent=False)

    def forward(self, x: Tensor, vector: Tensor, rotation: Tensor) -> Tensor:
        """Return ``x`` ``(batch, frames, positions, width)`` changed."""
        x = super().forward(x, vector, rotation)
        scale, shift, gate = self.across["modulation"](vector).transpose(1, 2).chunk(3, -1)
        along = turns(self.angles)
        h = x.transpose(1, 2)
        return (h + gate * self.across["attention"](h, 1 + scale, shift, along)).transpose(1, 2)
