"""EDM2's UNet, for 1-, 2- and 3-D data: every layer keeps the magnitude of features, and of its weights."""

from collections.abc import Mapping, Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool1d, avg_pool2d, avg_pool3d, interpolate

from diffkit import DataSpec
from diffkit_nets.condition import Condition, by_frame
from diffkit_nets.folding import fold, unfold
from diffkit_nets.inflation import inflate
from diffkit_nets.layers import Attend, check_dropout, divisor, gather, recompute
from diffkit_nets.levels import Size, levels_of
from diffkit_nets.magnitude import Unit, mp_cat, mp_silu, mp_sum, unit

POOL = {1: avg_pool1d, 2: avg_pool2d, 3: avg_pool3d}
SHARE = 0.3
"""The share of a residual branch in the sum with its input."""
LARGEST = 256.0
"""Features are cut off here, which half precision needs."""


class EDM2(nn.Module):
    """The magnitude-preserving UNet of Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion
    Models" (2024), configuration G: features and weights of unit magnitude throughout, no biases, no normalisation by
    groups; the condition scales features only, and an output has a gain that starts at zero.

    The noise level and the label come in as to the other networks here, in a vector that is brought to unit magnitude.
    Its learning rate can be high (``optim.lr=0.01``) and has to fall.

    Args:
        spec: what the network models: 1, 2 or 3 axes of any length.
        size: ``width`` and ``blocks`` where they are not given: 32 and 1, 64 and 2, 128 and 2, 192 and 3.
        width: channels at the first level.
        multipliers: see :class:`~diffkit_nets.UNet`, as ``attention`` and ``patch``.
        blocks: residual blocks a level on the way down; there is one more on the way up.
        attention: the levels with attention.
        patch: folds patches of the data into channels first.
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
        dropout: float = 0.0,
        checkpoint: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.checkpoint, self.per_frame = spec, checkpoint, spec.rank == 3
        self.levels = levels = levels_of(spec, size, width, multipliers, blocks, attention, patch)
        check_dropout(dropout)
        vector, sides = max(levels.widths), prod(levels.patch)
        self.condition = Condition(spec, vector, attends=bool(levels.attentive))
        told = self.condition.tokens > 0

        def block(level: int, inner: int, outer: int, encodes: bool, attends: bool) -> Block:
            return Block(levels.shapes[level], inner, outer, vector, dropout, attends, attends and told, encodes)

        seen = (spec.channels + self.condition.channels) * sides + 1  # and a channel of ones, in place of biases
        self.first = Unit(seen, levels.width, kernel_of(levels.shapes[0]))
        self.down, self.up = nn.ModuleList(), nn.ModuleList()
        channels, skips = levels.width, [levels.width]
        for level, outer in enumerate(levels.widths):
            attends = level in levels.attentive
            if level:
                self.down.append(block(level, channels, channels, True, False))
                skips.append(channels)
            for _ in range(levels.blocks):
                self.down.append(block(level, channels, outer, True, attends))
                channels = outer
                skips.append(channels)
        last = len(levels.widths) - 1
        attends = bool(levels.attentive)
        self.middle = nn.ModuleList(block(last, channels, channels, False, a) for a in (attends, False))
        for level, outer in reversed(list(enumerate(levels.widths))):
            if level < last:
                self.up.append(block(level, channels, channels, False, False))
            for _ in range(levels.blocks + 1):
                self.up.append(block(level, channels + skips.pop(), outer, False, level in levels.attentive))
                channels = outer
        self.last = Unit(channels, spec.outputs * spec.channels * sides, kernel_of(levels.shapes[0]))
        self.gain = nn.Parameter(torch.zeros(spec.outputs))

    def inflate(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a network for the frames of clips; see :func:`~diffkit_nets.inflate`."""
        inflate(self, weights)

    def constrain(self) -> None:
        """Bring all weights back to unit magnitude; see :class:`~diffkit.contracts.network.Constrained`."""
        for layer in self.modules():
            if isinstance(layer, Unit):
                layer.constrain()

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        blocks = (*self.down, *self.middle, *self.up)
        return [layer for block in blocks for layer in block.modules() if isinstance(layer, Attend)]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return outputs for ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``.

        For clips, ``lam`` may be ``(batch, frames)``.
        """
        x, vector, tokens = self.condition.around(x, lam, label, **cond)
        vector, tokens = unit(vector, (-1,)), None if tokens is None else unit(tokens, (2,))
        h = fold(x, self.levels.patch)
        h = self.first(torch.cat((h, torch.ones_like(h[:, :1])), 1))
        skips, each = [h], self.levels.blocks + 1
        for i, block in enumerate(self.down, 1):
            if i % each == 0:
                h = shrink(h, self.levels.stride(i // each))
            h = self._through(block, h, vector, tokens)
            skips.append(h)
        for block in self.middle:
            h = self._through(block, h, vector, tokens)
        for i, block in enumerate(self.up, 1):
            if i % (each + 1) == 0:
                h = self._through(block, interpolate(h, skips[-1].shape[2:]), vector, tokens)
            else:
                h = self._through(block, mp_cat(h, skips.pop()), vector, tokens)
        weight = self.last.weight
        gain = self.gain.repeat_interleave(len(weight) // len(self.gain)).reshape(-1, *[1] * (weight.ndim - 1))
        return unfold(self.last(h, gain), self.levels.patch)

    def _through(self, block: nn.Module, h: Tensor, vector: Tensor, tokens: Tensor | None) -> Tensor:
        return recompute(block, h, vector, tokens) if self.checkpoint else block(h, vector, tokens)


class Block(nn.Module):
    """Two convolutions around a scale, and attention, each mixed with its input.

    Args:
        shape: the spatial shape of the data.
        inner: channels of the input.
        outer: channels of the output.
        vector: the length of the condition's vector.
        dropout: see :class:`EDM2`.
        attends: whether self-attention follows.
        told: whether attention to tokens follows.
        encodes: whether it is on the way down, where features are brought to unit magnitude first.
    """

    def __init__(
        self,
        shape: Sequence[int],
        inner: int,
        outer: int,
        vector: int,
        dropout: float,
        attends: bool,
        told: bool,
        encodes: bool,
    ) -> None:
        super().__init__()
        self.encodes = encodes
        self.skip = Unit(inner, outer, [1] * len(shape)) if inner != outer else None
        self.enter = Unit(outer if encodes else inner, outer, kernel_of(shape))
        self.modulation = Unit(vector, outer)
        self.gain = nn.Parameter(torch.zeros(1))
        self.dropout = nn.Dropout(dropout)
        self.leave = Unit(outer, outer, kernel_of(shape))
        self.attention = Attention(shape, outer) if attends else None
        self.told = CrossAttention(len(shape), outer, vector) if told else None

    def forward(self, x: Tensor, vector: Tensor, tokens: Tensor | None = None) -> Tensor:
        """Return ``(batch, outer, *shape)`` of ``x`` ``(batch, inner, *shape)`` and ``vector`` ``(batch, vector)``.

        Vectors ``(batch, frames, vector)`` are for the frames of a clip.
        """
        kept = x if self.skip is None else self.skip(x)
        if self.encodes:
            kept = x = unit(kept, (1,))
        scale = 1 + self.modulation(by_frame(vector, x.shape[2]), self.gain).mT
        h = mp_silu(self.enter(mp_silu(x)) * scale.reshape(*scale.shape, *[1] * (x.ndim - 3)))
        h = mp_sum(kept, self.leave(self.dropout(h)), SHARE)
        if self.attention is not None:
            h = self.attention(h)
        if self.told is not None:
            h = self.told(h, tokens)
        return h.clamp(-LARGEST, LARGEST)


class Attention(nn.Module):
    """Self-attention by the cosine of the angle between queries and keys, mixed with its input.

    Args:
        shape: the spatial shape of the data.
        channels: of input and output.
        head: about how many channels a head has.
    """

    def __init__(self, shape: Sequence[int], channels: int, head: int = 64) -> None:
        super().__init__()
        self.heads = divisor(channels, max(1, channels // head))
        self.qkv = Unit(channels, 3 * channels, [1] * len(shape))
        self.attend = Attend(shape)
        self.out = Unit(channels, channels, [1] * len(shape))

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` ``(batch, channels, *shape)`` mixed with what each position gathered from the others."""
        qkv = unit(self.qkv(x).reshape(len(x), 3, self.heads, -1, x[0, 0].numel()), (3,))
        gathered = self.attend(*qkv.mT.unbind(1)).mT.reshape(x.shape)
        return mp_sum(x, self.out(gathered), SHARE)


class CrossAttention(nn.Module):
    """Attention of all positions to an item's tokens, by cosines, mixed with its input.

    Args:
        rank: of the data.
        channels: of input and output.
        width: of a token.
        head: about how many channels a head has.
    """

    def __init__(self, rank: int, channels: int, width: int, head: int = 64) -> None:
        super().__init__()
        self.heads = divisor(channels, max(1, channels // head))
        self.q, self.kv = Unit(channels, channels, [1] * rank), Unit(width, 2 * channels)
        self.out = Unit(channels, channels, [1] * rank)

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return ``x`` ``(batch, channels, *shape)`` mixed with what it gathered of ``(batch, length, width)``."""
        q = unit(self.q(x).unflatten(1, (self.heads, -1)), (2,)).flatten(1, 2)
        k, v = unit(self.kv(tokens).unflatten(2, (2, self.heads, -1)), (4,)).permute(2, 0, 3, 1, 4)
        return mp_sum(x, self.out(gather(q, k, v)), SHARE)


def kernel_of(shape: Sequence[int]) -> list[int]:
    """Return the kernel's sides: 3, but 1 along an axis of a single position, which has no neighbours."""
    return [3 if side > 1 else 1 for side in shape]


def shrink(x: Tensor, stride: Sequence[int]) -> Tensor:
    """Return means over ``stride`` positions along each axis, over one where there is only one left."""
    return POOL[len(stride)](x, list(stride), ceil_mode=True, count_include_pad=False)
