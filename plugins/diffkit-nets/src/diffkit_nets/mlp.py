"""A residual MLP on the flattened data."""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffkit import DataSpec
from diffkit_nets.condition import Condition
from diffkit_nets.layers import check_at_least, check_dropout, zero


class MLP(nn.Module):
    """Residual layers on the flattened data: the fastest network, for points and small items of any rank.

    The noise level and whatever else is known scale and shift each layer's normalised features, as in
    :class:`~diffkit_nets.UNet`; maps stand beside the data. A vector, or a row of a table, is data of ``n`` channels
    with no axes, or of one channel and shape ``(n,)``; known columns are a condition of kind ``values``, in which any
    may be missing.

    Args:
        spec: what the network models, of any rank.
        width: features of a layer.
        blocks: residual blocks of two layers.
        dropout: the share of features dropped within blocks while training.

    Raises:
        DiffkitError: where an option is out of range.
    """

    def __init__(self, spec: DataSpec, width: int = 256, blocks: int = 4, dropout: float = 0.0) -> None:
        super().__init__()
        check_at_least(1, width=width, blocks=blocks)
        check_dropout(dropout)
        self.spec = spec
        self.condition = Condition(spec, width)
        self.first = nn.Linear(spec.size + self.condition.channels * prod(spec.shape), width)
        self.blocks = nn.ModuleList(Block(width, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width)
        self.last = zero(nn.Linear(width, spec.outputs * spec.size))

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return outputs for ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``."""
        shape = x.shape
        x, vector, _ = self.condition.around(x, lam, label, **cond)
        h = self.first(x.flatten(1))
        for block in self.blocks:
            h = block(h, vector)
        return self.last(self.norm(h)).reshape(shape[0], self.spec.outputs * shape[1], *shape[2:])


class Block(nn.Module):
    """Two linear layers after a scale and shift of the normalised features, added to the input."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.enter = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)
        self.leave = zero(nn.Linear(width, width))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """Return ``(batch, width)`` of ``x`` and ``vector``, both ``(batch, width)``."""
        scale, shift = self.modulation(vector).chunk(2, 1)
        h = torch.addcmul(shift, self.norm(x), 1 + scale)
        return x + self.leave(self.dropout(silu(self.enter(h))))
