"""The parts that the networks share."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from diffkit import DataSpec, DiffkitError

Layer = TypeVar("Layer", bound=nn.Module)
CONVOLUTIONS: dict[int, Callable[..., nn.Module]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
"""The convolution of each rank."""


def convolution(shape: Sequence[int], inner: int, outer: int, stride: Sequence[int] | int = 1) -> nn.Module:
    """Return a convolution of kernel 3 over data ``(batch, inner, *shape)`` that keeps the shape but for ``stride``.

    Along an axis of a single position, which has no neighbours, the kernel is 1: two thirds of it would see only zeros.
    """
    kernel = [3 if side > 1 else 1 for side in shape]
    return CONVOLUTIONS[len(shape)](inner, outer, kernel, stride, padding=[k // 2 for k in kernel])


def zero(layer: Layer) -> Layer:
    """Return ``layer`` with all its parameters set to zero: a residual branch that ends in it starts as nothing."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def divisor(n: int, most: int) -> int:
    """Return the largest divisor of ``n`` that is at most ``most``, and at least 1."""
    return next((d for d in range(min(n, most), 1, -1) if n % d == 0), 1)


class GroupNorm(nn.GroupNorm):
    """A group norm whose output is of the precision of its input: autocast leaves that of torch in float32, which what
    follows would keep for the backward pass.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` with each group of channels of each item brought to mean 0 and variance 1."""
        return super().forward(x).to(x.dtype)


def group_norm(channels: int, affine: bool = True) -> GroupNorm:
    """Return a group norm of up to 32 groups of at least four channels each."""
    return GroupNorm(divisor(channels, min(32, channels // 4)), channels, affine=affine)


class Attend(nn.Module):
    """softmax(q kᵀ/√d) v: a layer of its own, so that guidance can find it and perturb it.

    Args:
        shape: the spatial shape of the positions.
    """

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = tuple(shape)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each position gathers from all; each is ``(batch, heads, positions, features)``."""
        return scaled_dot_product_attention(q, k, v)


class Attention(nn.Module):
    """Self-attention over all positions, added to its input; it starts as the identity.

    Args:
        shape: the spatial shape of the data.
        channels: of input and output.
        head: about how many channels a head has.
    """

    def __init__(self, shape: Sequence[int], channels: int, head: int = 32) -> None:
        super().__init__()
        rank = len(shape)
        self.heads = divisor(channels, max(1, channels // head))
        self.norm = group_norm(channels)
        self.qkv = CONVOLUTIONS[rank](channels, 3 * channels, 1)
        self.attend = Attend(shape)
        self.out = zero(CONVOLUTIONS[rank](channels, channels, 1))

    def forward(self, x: Tensor, batch: int) -> Tensor:
        """Return ``x`` ``(batch · parts, channels, *shape)`` with what each position gathered from its part added.

        To the layer within, and so to guidance, the parts of an item are further heads.
        """
        qkv = self.qkv(self.norm(x)).reshape(len(x), 3, self.heads, -1, x[0, 0].numel())
        qkv = qkv.mT.contiguous()  # fused kernels want the features of a position side by side
        q, k, v = (part.reshape(batch, -1, *part.shape[2:]) for part in qkv.unbind(1))
        gathered = self.attend(q, k, v).mT.reshape(x.shape)
        return x + self.out(gathered)


class CrossAttention(nn.Module):
    """Attention of all positions to an item's tokens, added to its input; it starts as the identity.

    Args:
        rank: of the data.
        channels: of input and output.
        width: of a token.
        head: about how many channels a head has.
    """

    def __init__(self, rank: int, channels: int, width: int, head: int = 32) -> None:
        super().__init__()
        self.heads = divisor(channels, max(1, channels // head))
        self.norm = group_norm(channels)
        self.q = CONVOLUTIONS[rank](channels, channels, 1)
        self.kv = nn.Linear(width, 2 * channels)
        self.out = zero(CONVOLUTIONS[rank](channels, channels, 1))

    def forward(self, x: Tensor, tokens: Tensor) -> Tensor:
        """Return ``x`` ``(batch · parts, channels, *shape)`` with what it gathered of ``(batch, length, width)``."""
        k, v = self.kv(tokens).unflatten(2, (2, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return x + self.out(gather(self.q(self.norm(x)), k, v))


def gather(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Return softmax(q kᵀ/√d) v for queries ``(batch · parts, channels, *shape)``, shaped as they are.

    Keys and values are ``(batch, heads, tokens, d)``, for all parts of an item.
    """
    batch, heads, _, features = k.shape
    parts = q.reshape(batch, -1, heads, features, q[0, 0].numel()).permute(0, 2, 1, 4, 3)
    gathered = scaled_dot_product_attention(parts.flatten(2, 3), k, v).reshape(parts.shape)
    return gathered.permute(0, 2, 1, 4, 3).reshape(q.shape)


def recompute(layer: nn.Module, *inputs: Any) -> Tensor:
    """Return ``layer(*inputs)``, of which only the inputs are kept for the backward pass, which computes it again."""
    if not torch.is_grad_enabled():
        return layer(*inputs)
    return checkpoint(layer, *inputs, use_reentrant=False)


def check_rank(spec: DataSpec) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless there are convolutions of the data's rank."""
    if spec.rank not in CONVOLUTIONS:
        raise DiffkitError(f"data with {spec.rank} axes is not supported; it has to have 1, 2 or 3, or use net=mlp")


def check_at_least(least: int, **values: int) -> None:
    """Raise :class:`~diffkit.DiffkitError` where one of ``values`` is below ``least``."""
    for name, value in values.items():
        if value < least:
            raise DiffkitError(f"{name}={value} is out of range; give {least} or more")


def check_dropout(dropout: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless ``dropout`` is a share below 1."""
    if not 0 <= dropout < 1:
        raise DiffkitError(f"dropout={dropout} is out of range; give 0 to below 1")
