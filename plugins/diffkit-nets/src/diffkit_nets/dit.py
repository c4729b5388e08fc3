"""A diffusion transformer for 1-, 2- and 3-D data."""

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import rms_norm, silu

from diffkit import DataSpec, DiffkitError
from diffkit_nets.condition import Condition
from diffkit_nets.folding import fold, patch_for, unfold
from diffkit_nets.layers import Attend, check_at_least, check_dropout, zero

LONGEST = {1: 256, 2: 16}
"""By rank, the most patches along an axis unless a patch is asked for; 8 where there are more axes."""
BASE = 100.0
"""Rotary angles are position · BASE^(-i/n): from a radian a patch to a hundredth of it."""


class DiT(nn.Module):
    """A transformer on patches, with adaLN-Zero: blocks start as the identity and the output starts as zero.

    Peebles & Xie, "Scalable Diffusion Models with Transformers" (2023), with what has become usual since: rotary
    positions along each axis beside a learned one (Su et al., "RoFormer", 2021), queries and keys of unit mean square
    (Dehghani et al., "Scaling Vision Transformers to 22 Billion Parameters", 2023), and gated SiLU layers (Shazeer,
    "GLU Variants Improve Transformer", 2020).

    Args:
        spec: what the network models, of any rank.
        width: features of a patch.
        blocks: attention blocks.
        heads: attention heads, a divisor of ``width``; none makes heads of about 32 features.
        patch: one side for each axis, or one for all; none leaves at most 256 patches of audio, 16 x 16 of images and
            8 x 8 x 8 of video.
        dropout: the share of features dropped within blocks while training.
        label_dropout: the share of labels replaced by the null label while training, which guidance needs.

    Raises:
        DiffkitError: where an option is out of range or does not fit the shape.
    """

    angles: Tensor

    def __init__(
        self,
        spec: DataSpec,
        width: int = 128,
        blocks: int = 6,
        heads: int | None = None,
        patch: list[int] | None = None,
        dropout: float = 0.0,
        label_dropout: float = 0.1,
    ) -> None:
        super().__init__()
        check_at_least(1, width=width, blocks=blocks)
        check_dropout(dropout)
        heads = max(1, width // 32) if heads is None else heads
        if heads < 1 or width % heads:
            raise DiffkitError(f"heads={heads} does not divide width={width}; give a divisor, such as heads=1")
        if width // heads < 2 * spec.rank:
            raise DiffkitError(
                f"width={width} leaves {heads} heads {width // heads} features each, but data with {spec.rank} axes "
                f"needs {2 * spec.rank} for its positions; give a greater width or fewer heads"
            )
        self.spec, self.patch = spec, patch_for(spec, patch, LONGEST.get(spec.rank, 8))
        self.shape = tuple(side // p for side, p in zip(spec.shape, self.patch, strict=True))
        self.condition = Condition(spec, width, label_dropout)
        depth = spec.channels * prod(self.patch)
        self.first = nn.Linear(depth, width)
        self.places = nn.ParameterList(torch.randn(side, width) * 0.02 for side in self.shape)
        self.register_buffer("angles", rotary_angles(self.shape, width // heads), persistent=False)
        self.blocks = nn.ModuleList(Block(self.shape, width, heads, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zero(nn.Linear(width, 2 * width))
        self.last = zero(nn.Linear(width, depth))

    def attentions(self) -> list[nn.Module]:
        """Return where it attends, from input to output; see :class:`~diffkit.contracts.network.Attentive`."""
        return [block.attend for block in self.blocks]

    def forward(self, x: Tensor, lam: Tensor, label: Tensor | None = None) -> Tensor:
        """Return an output shaped as ``x`` ``(batch, channels, *shape)``; ``lam`` and ``label`` are ``(batch,)``."""
        vector = self.condition(lam, label)[:, None]
        h = self.first(fold(x, self.patch).flatten(2).mT) + self._places()
        rotation = self.angles.cos().to(h.dtype), self.angles.sin().to(h.dtype)
        for block in self.blocks:
            h = block(h, vector, rotation)
        scale, shift = self.modulation(vector).chunk(2, -1)
        h = self.last(torch.addcmul(shift, self.norm(h), 1 + scale))
        return unfold(h.mT.reshape(len(x), -1, *self.shape), self.patch)

    def _places(self) -> Tensor:
        """Return the learned positions ``(patches, width)``: the sum of one vector an axis."""
        total = torch.zeros((), device=self.angles.device)
        for axis, table in enumerate(self.places):
            total = total + table.reshape(-1, *[1] * (len(self.shape) - 1 - axis), table.shape[1])
        return total.reshape(prod(self.shape), -1)


class Block(nn.Module):
    """Attention and a gated layer, each scaled, shifted and gated by the condition."""

    def __init__(self, shape: Sequence[int], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        hidden = -(-8 * width // 3 // 8) * 8
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zero(nn.Linear(width, 6 * width))
        self.qkv = nn.Linear(width, 3 * width)
        self.scales = nn.Parameter(torch.ones(2, width // heads))
        self.attend = Attend(shape)
        self.gathered = nn.Linear(width, width)
        self.enter = nn.Linear(width, 2 * hidden)
        self.leave = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, vector: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """Return ``x`` ``(batch, patches, width)`` changed; ``vector`` is ``(batch, 1, width)``."""
        scale, shift, gate, scale2, shift2, gate2 = self.modulation(vector).chunk(6, -1)
        x = x + gate * self._attend(torch.addcmul(shift, self.norm(x), 1 + scale), rotation)
        value, gating = self.enter(torch.addcmul(shift2, self.norm(x), 1 + scale2)).chunk(2, -1)
        return x + gate2 * self.leave(self.dropout(value * silu(gating)))

    def _attend(self, x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        features = (q.shape[-1],)
        q = rotate(rms_norm(q, features, self.scales[0].to(q.dtype)), rotation)
        k = rotate(rms_norm(k, features, self.scales[1].to(k.dtype)), rotation)
        return self.gathered(self.dropout(self.attend(q, k, v).transpose(1, 2).flatten(2)))


def rotary_angles(shape: tuple[int, ...], features: int) -> Tensor:
    """Return the angles ``(patches, features // 2)`` by which a head's pairs of features turn at each position.

    Each axis turns its own share of the pairs; pairs that are left over do not turn.
    """
    pairs = features // 2 // len(shape)
    speeds = BASE ** (-torch.arange(pairs) / pairs)
    places = torch.meshgrid(*(torch.arange(side) for side in shape), indexing="ij")
    turning = torch.cat([place.flatten()[:, None] * speeds for place in places], 1)
    return torch.cat((turning, turning.new_zeros(len(turning), features // 2 - turning.shape[1])), 1)


def rotate(x: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Turn the pairs (i, i + n/2) of the n features of ``x`` ``(batch, heads, patches, n)``; an odd one stays."""
    cos, sin = rotation
    n = cos.shape[-1]
    a, b, rest = x[..., :n], x[..., n : 2 * n], x[..., 2 * n :]
    return torch.cat((a * cos - b * sin, b * cos + a * sin, rest), -1)
