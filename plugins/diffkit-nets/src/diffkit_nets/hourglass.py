"""What the UNets share: blocks at several resolutions, and skip connections across."""

from collections.abc import Callable, Mapping
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffkit import DataSpec
from diffkit_nets.condition import Condition
from diffkit_nets.folding import fold, unfold
from diffkit_nets.inflation import inflate
from diffkit_nets.layers import Attend, convolution, group_norm, recompute, zero
from diffkit_nets.levels import Levels
from diffkit_nets.resampling import Blur, Grow


class Hourglass(nn.Module):
    """Down through the levels, and up again with what was seen on the way down at hand; the output starts as zero.

    Args:
        spec: what the network models.
        levels: its levels.
        vector: the length of the condition's vector.
        block: ``block(level, inner, outer)`` returns a module that maps ``(batch, inner, *shape)``, vectors
            ``(batch, vector)``, or ``(batch, frames, vector)``, and tokens ``(batch, length, vector)`` or none to
            ``(batch, outer, *shape)``.
        blur: whether a low-pass filter precedes and follows every change of resolution.
        checkpoint: whether blocks are computed again in the backward pass instead of kept.
    """

    def __init__(
        self,
        spec: DataSpec,
        levels: Levels,
        vector: int,
        block: Callable[[int, int, int], nn.Module],
        *,
        blur: bool,
        checkpoint: bool,
    ) -> None:
        super().__init__()
        self.spec, self.levels, self.checkpoint, self.per_frame = spec, levels, checkpoint, spec.rank == 3
        shapes, widths = levels.shapes, levels.widths
        self.condition = Condition(spec, vector, attends=bool(levels.attentive))
        sides = prod(levels.patch)
        self.first = convolution(shapes[0], (spec.channels + self.condition.channels) * sides, levels.width)
        self.down, self.shrink = nn.ModuleList(), nn.ModuleList()
        self.up, self.grow = nn.ModuleList(), nn.ModuleList()
        channels, skips = levels.width, []
        for level, outer in enumerate(widths):
            if level:
                self.shrink.append(_shrink(levels, level, channels, blur))
            for _ in range(levels.blocks):
                self.down.append(block(level, channels, outer))
                channels = outer
                skips.append(channels)
        self.middle = block(len(widths) - 1, channels, channels)
        for level, outer in reversed(list(enumerate(widths))):
            for _ in range(levels.blocks):
                self.up.append(block(level, channels + skips.pop(), outer))
                channels = outer
            if level:
                self.grow.append(Grow(shapes[level - 1], channels, blur))
        self.norm = group_norm(channels)
        self.last = zero(convolution(shapes[0], channels, spec.outputs * spec.channels * sides))

    def inflate(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the weights of a network for the frames of clips; see :func:`~diffkit_nets.inflate`."""
        inflate(self, weights)

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        blocks = (*self.down, self.middle, *self.up)
        return [layer for block in blocks for layer in block.modules() if isinstance(layer, Attend)]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return outputs for ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``.

        For clips, ``lam`` may be ``(batch, frames)``.
        """
        x, vector, tokens = self.condition.around(x, lam, label, **cond)
        h = self.first(self.enter(fold(x, self.levels.patch)))
        skips, blocks = [], self.levels.blocks
        for i, block in enumerate(self.down):
            if i and i % blocks == 0:
                h = self.shrink[i // blocks - 1](h)
            h = self._through(block, h, vector, tokens)
            skips.append(h)
        h = self._through(self.middle, h, vector, tokens)
        for i, block in enumerate(self.up):
            skip = skips.pop()
            if i and i % blocks == 0:
                h = self.grow[i // blocks - 1](h, skip.shape[2:])
            h = self._through(block, torch.cat((h, skip), 1), vector, tokens)
        h = self.last(silu(self.norm(h)))
        return unfold(self.leave(h, len(x)), self.levels.patch)

    def enter(self, x: Tensor) -> Tensor:
        """Return what the first convolution sees of folded data ``(batch, depth, *shape)``."""
        return x

    def leave(self, h: Tensor, batch: int) -> Tensor:
        """Undo :meth:`enter`."""
        return h

    def _through(self, block: nn.Module, h: Tensor, vector: Tensor, tokens: Tensor | None) -> Tensor:
        return recompute(block, h, vector, tokens) if self.checkpoint else block(h, vector, tokens)


def _shrink(levels: Levels, level: int, channels: int, blur: bool) -> nn.Module:
    if not blur:
        return convolution(levels.shapes[level - 1], channels, channels, levels.stride(level))
    return nn.Sequential(Blur(levels.stride(level)), convolution(levels.shapes[level], channels, channels))
