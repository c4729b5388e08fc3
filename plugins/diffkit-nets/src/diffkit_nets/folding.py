"""Space to depth and back, for any number of axes: how a network makes long or large data short and deep."""

from collections.abc import Sequence
from math import prod

from torch import Tensor

from diffkit import DataSpec, DiffkitError

WIDEST = 32
"""The longest patch that is chosen without being asked for."""


def fold(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Return ``(batch, channels, *shape)`` as ``(batch, channels · Π patch, *(shape / patch))``."""
    if prod(patch) == 1:
        return x
    batch, channels, *shape = x.shape
    rank = len(patch)
    split = [part for side, p in zip(shape, patch, strict=True) for part in (side // p, p)]
    inner, outer = range(3, 3 + 2 * rank, 2), range(2, 2 + 2 * rank, 2)
    x = x.reshape(batch, channels, *split).permute(0, 1, *inner, *outer)
    return x.reshape(batch, channels * prod(patch), *(side // p for side, p in zip(shape, patch, strict=True)))


def unfold(x: Tensor, patch: Sequence[int]) -> Tensor:
    """Return what :func:`fold` was given."""
    if prod(patch) == 1:
        return x
    batch, depth, *shape = x.shape
    rank = len(patch)
    pairs = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    x = x.reshape(batch, depth // prod(patch), *patch, *shape).permute(0, 1, *pairs)
    return x.reshape(batch, depth // prod(patch), *(side * p for side, p in zip(shape, patch, strict=True)))


def patch_for(spec: DataSpec, patch: Sequence[int] | None, longest: int, least: int = 1) -> tuple[int, ...]:
    """Return the patch, one side an axis: what was asked for, or one that leaves no axis longer than ``longest``.

    Args:
        spec: what the network models.
        patch: one number for each axis, or a single one for all; none chooses the shortest sides that divide the
            shape and leave at most ``longest`` patches an axis, or the nearest there is.
        longest: see above.
        least: the shortest side that is chosen, of an axis that it divides.

    Raises:
        DiffkitError: where the patch does not divide the shape.
    """
    if patch is None:
        return tuple(_shortest(side, longest, 1 if side % least else least) for side in spec.shape)
    sides = tuple(int(p) for p in patch)
    if len(sides) == 1:
        sides = sides * spec.rank
    shape = " x ".join(map(str, spec.shape))
    if len(sides) != spec.rank:
        raise DiffkitError(
            f"patch={list(patch)} has {len(sides)} sides, but the data has {spec.rank} axes ({shape}); give one side "
            f"for each, or one for all"
        )
    if any(p < 1 or side % p for p, side in zip(sides, spec.shape, strict=True)):
        raise DiffkitError(f"patch={list(patch)} does not divide the data's shape {shape}; give divisors, or none")
    return sides


def _shortest(side: int, longest: int, least: int) -> int:
    divisors = [p for p in range(least, min(side, WIDEST) + 1) if side % p == 0]
    return next((p for p in divisors if side // p <= longest), divisors[-1])
