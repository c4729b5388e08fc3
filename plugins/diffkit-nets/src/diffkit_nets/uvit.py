"""U-ViT, for 1-, 2- and 3-D data."""

from collections.abc import Sequence
from math import prod
from typing import Literal

import torch
from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError
from diffkit_nets.condition import Condition
from diffkit_nets.folding import fold, patch_for, unfold
from diffkit_nets.layers import Attend, check_at_least, check_dropout, check_rank, convolution, recompute, zero
from diffkit_nets.transformer import LEAST, LONGEST, Attention, Gated, Places, heads_for, rotary_angles, sized, turns
from diffkit_nets.twice import linear_twice

Size = Literal["xs", "s", "m", "l"]
SIZES = {"xs": (128, 7, 4), "s": (512, 13, 8), "m": (768, 17, 12), "l": (1024, 21, 16)}
"""By size, width, blocks and heads; from s on U-ViT-S, -M and -L of Bao et al.."""


class UViT(nn.Module):
    """A transformer to which everything is a token, with long skips from early blocks to late ones.

    Bao et al., "All are Worth Words: A ViT Backbone for Diffusion Models" (2023): the noise level with whatever else
    enters the condition's vector is one token beside the patches and the tokens of sequences, the second half of the
    blocks also sees what the first half saw, and a convolution smooths the joints of patches. Positions, attention and
    hidden layers are those of :class:`~diffkit_nets.DiT`. The output starts as zero.

    Args:
        spec: what the network models: 1, 2 or 3 axes of any length.
        size: ``width``, ``blocks`` and ``heads`` where they are not given: 128, 7, 4 for ``xs``, and U-ViT-S to -L.
        width: features of a patch.
        blocks: attention blocks, an odd number: as many before the one in the middle as after it.
        heads: attention heads, a divisor of ``width``; none makes those of the size, or of a given width heads of
            about 32 features.
        patch: see :class:`~diffkit_nets.DiT`.
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
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        check_rank(spec)
        self.spec, self.checkpoint = spec, checkpoint
        width, blocks, heads = sized(SIZES, size, width, blocks, heads)
        check_at_least(1, width=width, blocks=blocks)
        check_dropout(dropout)
        if blocks % 2 == 0:
            raise DiffkitError(f"blocks={blocks} has no middle; give an odd number, such as blocks={blocks + 1}")
        self.patch = patch_for(spec, patch, LONGEST[spec.rank], LEAST.get(spec.rank, 1))
        self.shape = tuple(side // p for side, p in zip(spec.shape, self.patch, strict=True))
        heads = heads_for(width, heads, spec.rank)
        self.condition = Condition(spec, width, attends=True)
        sides = prod(self.patch)
        self.first = nn.Linear((spec.channels + self.condition.channels) * sides, width)
        self.places = Places(self.shape, width)
        angles = rotary_angles(self.shape, width // heads, 1 + self.condition.tokens)
        self.register_buffer("angles", angles, persistent=False)
        self.blocks = nn.ModuleList(
            Block(self.shape, width, heads, dropout, joins=i > blocks // 2) for i in range(blocks)
        )
        self.norm = nn.LayerNorm(width)
        outputs = spec.outputs * spec.channels
        self.last = zero(nn.Linear(width, outputs * sides))
        self.smooth = zero(convolution(spec.shape, outputs, outputs))

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        return [layer for layer in self.blocks.modules() if isinstance(layer, Attend)]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return outputs for ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``."""
        x, vector, tokens = self.condition.around(x, lam, label, **cond)
        patches = self.first(fold(x, self.patch).flatten(2).mT) + self.places()
        everything = [patches, vector[:, None], *([] if tokens is None else [tokens])]
        h = torch.cat(everything, 1)[:, None]
        rotation = turns(self.angles)
        skips: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            given = (h, rotation, skips.pop()) if block.join is not None else (h, rotation)
            h = recompute(block, *given) if self.checkpoint else block(*given)
            if i < len(self.blocks) // 2:
                skips.append(h)
        h = self.last(self.norm(h[:, 0, : patches.shape[1]]))
        y = unfold(h.mT.reshape(len(x), -1, *self.shape), self.patch)
        return y + self.smooth(y)


class Block(nn.Module):
    """Attention and a gated layer, each added to its input, which is first joined with an earlier block's output.

    Args:
        shape: the spatial shape of the positions.
        width: of input and output.
        heads: see :class:`UViT`, as ``dropout``.
        joins: whether there is an earlier block.
    """

    def __init__(self, shape: Sequence[int], width: int, heads: int, dropout: float, joins: bool) -> None:
        super().__init__()
        self.join = nn.Linear(2 * width, width) if joins else None
        self.norm, self.attention = nn.LayerNorm(width), Attention(shape, width, heads, dropout)
        self.second, self.gated = nn.LayerNorm(width), Gated(width, dropout)

    def forward(self, x: Tensor, rotation: Tensor, earlier: Tensor | None = None) -> Tensor:
        """Return ``x`` ``(batch, parts, positions, width)`` changed."""
        if self.join is not None and earlier is not None:
            x = linear_twice(self.join, joined, x, earlier)
        x = x + self.attention(x, self.norm.weight, self.norm.bias, rotation)
        return x + self.gated(x, self.second.weight, self.second.bias)


def joined(*features: Tensor) -> Tensor:
    """Return features side by side."""
    return torch.cat(features, -1)
