"""What the transformers share: attention with rotary positions, and a gated layer.

Features are ``(batch, parts, positions, width)``: positions of the same part attend to each other, and to no others.
In a clip that is seen frame by frame the parts are its frames; elsewhere there is a single one.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm, silu

from diffkit import DiffkitError
from diffkit_nets.layers import Attend
from diffkit_nets.twice import linear_twice, twice

LONGEST = {1: 256, 2: 16, 3: 8}
"""By rank, the most patches along an axis unless a patch is asked for."""
LEAST = {2: 2}
"""By rank, the shortest side of one: attention to single pixels takes several times as long as it is worth."""
BASE = 100.0
"""Rotary angles are position · BASE^(-i/n): from a radian a patch to a hundredth of it."""


class Attention(nn.Module):
    """Self-attention within each part of normalised features, by queries and keys that are normalised, too, and turned
    by their position. No layer has a bias, for which there is the shift of what comes in.

    Args:
        shape: the spatial shape of the positions; those of tokens follow them.
        width: of input and output.
        heads: a divisor of ``width``.
        dropout: the share of features dropped while training.
    """

    def __init__(self, shape: Sequence[int], width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.scales = nn.Parameter(torch.ones(2, width // heads))
        self.attend = Attend(shape)
        self.gathered = nn.Linear(width, width, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor, rotation: Tensor) -> Tensor:
        """Return what each position gathered; to the layer within, and so to guidance, parts are further heads."""
        parts = x.shape[1]
        qkv = linear_twice(self.qkv, normalised, x, scale, shift).reshape(*x.shape[:-1], 3, self.heads, -1)
        q, k, v = qkv.unbind(3)
        q, k = (rotate(normalised_heads(each, own), rotation) for each, own in zip((q, k), self.scales, strict=True))
        q, k, v = (each.transpose(2, 3).flatten(1, 2) for each in (q, k, v))
        gathered = self.attend(q, k, v).unflatten(1, (parts, -1)).transpose(2, 3).flatten(3)
        return self.gathered(self.dropout(gathered))


class Gated(nn.Module):
    """Two hidden layers, of normalised features, of which one gates the other: SwiGLU, without biases, as in Shazeer,
    "GLU Variants Improve Transformer" (2020), eq. 6, with as many parameters as a plain layer of four times the width.
    Halves of a single layer would be put together again, which takes longer.

    Args:
        width: of input and output.
        dropout: the share of hidden features dropped while training.
    """

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        hidden = -(-8 * width // 3 // 8) * 8
        self.value, self.gate = (nn.Linear(width, hidden, bias=False) for _ in range(2))
        self.dropout = nn.Dropout(dropout)
        self.leave = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
        """Return an output of the shape of ``x``."""
        h = twice(normalised, x, scale, shift)
        value, gate = self.value(h), self.gate(h)
        if self.training and self.dropout.p:
            return self.leave(self.dropout(twice(gated, value, gate)))
        return linear_twice(self.leave, gated, value, gate)


def normalised(x: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Return ``x`` with the features of each position brought to mean 0 and variance 1, scaled and shifted."""
    return torch.addcmul(shift, layer_norm(_wide(x), x.shape[-1:]), scale).to(x.dtype)


def gated(value: Tensor, gate: Tensor) -> Tensor:
    """Return ``value`` times silu of ``gate``."""
    return value * silu(gate)


def normalised_heads(x: Tensor, scale: Tensor) -> Tensor:
    """Return queries or keys ``(…, positions, heads, features)`` of mean 0 and variance 1, scaled.

    The norm keeps what it is given, which in half precision is a copy of twice the size.
    """
    return _normalised_heads(x, scale) if x.dtype == scale.dtype else twice(_normalised_heads, x, scale)


def _normalised_heads(x: Tensor, scale: Tensor) -> Tensor:
    return layer_norm(_wide(x), x.shape[-1:], _wide(scale)).to(x.dtype)


def _wide(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def sized(
    sizes: Mapping[str, tuple[int, int, int]], size: str, width: int | None, blocks: int | None, heads: int | None
) -> tuple[int, int, int | None]:
    """Return width, blocks and heads: those given, and those of the size for the others.

    Raises:
        DiffkitError: where there is no such size.
    """
    if size not in sizes:
        raise DiffkitError(f"size={size} is not known; give one of {', '.join(sizes)}")
    if heads is None and width is None:
        heads = sizes[size][2]
    return (sizes[size][0] if width is None else width), (sizes[size][1] if blocks is None else blocks), heads


def heads_for(width: int, heads: int | None, axes: int) -> int:
    """Return the number of heads: what was asked for, or such that each has about 32 features.

    Raises:
        DiffkitError: where heads cannot be that many, or leave too few features for the positions of ``axes`` axes.
    """
    heads = max(1, width // 32) if heads is None else heads
    if heads < 1 or width % heads:
        raise DiffkitError(f"heads={heads} does not divide width={width}; give a divisor, such as heads=1")
    if width // heads < 2 * axes:
        raise DiffkitError(
            f"width={width} leaves {heads} heads {width // heads} features each, but data with {axes} axes needs "
            f"{2 * axes} for its positions; give a greater width or fewer heads"
        )
    return heads


def rotary_angles(shape: Sequence[int], features: int, tokens: int = 0) -> Tensor:
    """Return the angles ``(positions + tokens, 1, features // 2)`` by which a head's pairs of features turn.

    Each axis turns its own share of the pairs; those that are left over do not turn, and neither do tokens.
    """
    pairs = features // 2 // len(shape)
    speeds = BASE ** (-torch.arange(pairs) / pairs)
    places = torch.meshgrid(*(torch.arange(side) for side in shape), indexing="ij")
    turning = torch.cat([place.flatten()[:, None] * speeds for place in places], 1)
    angles = turning.new_zeros(len(turning) + tokens, 1, features // 2)
    angles[: len(turning), 0, : turning.shape[1]] = turning
    return angles


def turns(angles: Tensor) -> Tensor:
    """Return the cosines and sines ``(…, 2)`` of angles, in single precision at least."""
    angles = _wide(angles)
    return torch.stack((angles.cos(), angles.sin()), -1)


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turn the pairs (2i, 2i + 1) of the features of ``x`` ``(…, positions, heads, n)``; an odd last one is left alone.

    As products of complex numbers it takes a single pass, of which nothing is kept; compilers make one of a sum.
    """
    paired = 2 * rotation.shape[-2]
    pairs = _wide(x[..., :paired]).unflatten(-1, (-1, 2))
    if torch.compiler.is_compiling():
        (a, b), (cos, sin) = pairs.unbind(-1), rotation.unbind(-1)
        turned = torch.stack((a * cos - b * sin, a * sin + b * cos), -1)
    else:
        turned = torch.view_as_real(torch.view_as_complex(pairs.contiguous()) * torch.view_as_complex(rotation))
    turned = turned.flatten(-2).to(x.dtype)
    return turned if paired == x.shape[-1] else torch.cat((turned, x[..., paired:]), -1)


class Places(nn.Module):
    """Learned positions: the sum of one vector an axis.

    Args:
        shape: the spatial shape of the positions.
        width: of a vector.
    """

    def __init__(self, shape: Sequence[int], width: int) -> None:
        super().__init__()
        self.axes = nn.ParameterList(torch.randn(side, width) * 0.02 for side in shape)

    def forward(self) -> Tensor:
        """Return the vectors ``(positions, width)``."""
        total = self.axes[0]
        for i in range(1, len(self.axes)):  # a slice would be another list, of parameters of its own
            total = (total[:, None] + self.axes[i]).flatten(0, 1)
        return total
