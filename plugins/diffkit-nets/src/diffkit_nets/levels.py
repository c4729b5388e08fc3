"""The levels of a convolutional network: how wide each is, how fine, and where attention is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from diffkit import DataSpec, DiffkitError
from diffkit_nets.folding import patch_for
from diffkit_nets.layers import check_at_least, check_rank

Size = Literal["xs", "s", "m", "l"]
SIZES = {"xs": (32, 1), "s": (64, 2), "m": (128, 2), "l": (192, 3)}
"""By size, the width and the blocks a level that are taken where they are not given."""
LONGEST = {1: 512, 2: 64, 3: 32}
"""By rank, the longest side at which convolutions work unless a patch is asked for."""
SMALLEST, DEEPEST, WIDEST = 4, 5, 4
"""Without ``multipliers``: the longest side of the last level, the most levels, and the largest multiplier."""
ATTENTIVE = {1: 32, 2: 16, 3: 6}
"""By rank, the longest side of a level with attention unless ``attention`` says where."""


@dataclass(frozen=True)
class Levels:
    """The levels of a network, from the finest.

    Args:
        patch: the sides of a patch, one an axis of the data.
        width: the channels of the first convolution.
        shapes: the spatial shape of each level, in patches; of one frame where frames are apart.
        widths: the channels of each level.
        blocks: how many blocks each has.
        attentive: which of them attend.
    """

    patch: tuple[int, ...]
    width: int
    shapes: list[tuple[int, ...]]
    widths: list[int]
    blocks: int
    attentive: frozenset[int]

    def stride(self, level: int) -> tuple[int, ...]:
        """Return by how much ``level`` is coarser than the one before, along each axis: 1 or 2."""
        return tuple(-(-a // b) for a, b in zip(self.shapes[level - 1], self.shapes[level], strict=True))


def levels_of(
    spec: DataSpec,
    size: str,
    width: int | None,
    multipliers: Sequence[int] | None,
    blocks: int | None,
    attention: Sequence[int] | None,
    patch: Sequence[int] | None,
    apart: bool = False,
) -> Levels:
    """Return the levels that a network's options, those of :class:`~diffkit_nets.UNet`, ask for.

    Where frames are ``apart``, each is seen as a picture, and the first axis counts them.

    Raises:
        DiffkitError: where an option is out of range or does not fit the shape.
    """
    check_rank(spec)
    if size not in SIZES:
        raise DiffkitError(f"size={size} is not known; give one of {', '.join(SIZES)}")
    width, blocks = SIZES[size][0] if width is None else width, SIZES[size][1] if blocks is None else blocks
    check_at_least(1, width=width, blocks=blocks)
    sides = patch_for(spec, patch, LONGEST[spec.rank - apart])
    if apart and patch is None:
        sides = (1, *sides[1:])
    shape = tuple(side // p for side, p in zip(spec.shape, sides, strict=True))
    shapes = level_shapes(shape[1:] if apart else shape, multipliers)
    widths = [width * m for m in multipliers or [min(i + 1, WIDEST) for i in range(len(shapes))]]
    return Levels(sides, width, shapes, widths, blocks, _attentive(shapes, attention))


def level_shapes(shape: tuple[int, ...], multipliers: Sequence[int] | None) -> list[tuple[int, ...]]:
    """Return the shape of each level: as many as ``multipliers`` asks for, or as suit the shape of the first."""
    if multipliers is not None and (not multipliers or min(multipliers) < 1):
        raise DiffkitError(f"multipliers={list(multipliers)} has to name one or more levels, each 1 or more: [1, 2, 2]")
    shapes = [shape]
    while len(shapes) < (DEEPEST if multipliers is None else len(multipliers)):
        longest = max(shapes[-1])
        if multipliers is None and longest <= SMALLEST:
            break
        if longest == 1:
            raise DiffkitError(
                f"multipliers={list(multipliers or ())} asks for {len(multipliers or ())} levels, but data of "
                f"{' x '.join(map(str, shape))} (patches) can be halved only {len(shapes) - 1} times; leave some out"
            )
        shapes.append(tuple(-(-side // 2) if 2 * side > longest else side for side in shapes[-1]))
    return shapes


def _attentive(shapes: Sequence[tuple[int, ...]], attention: Sequence[int] | None) -> frozenset[int]:
    """Return the levels with attention."""
    if attention is None:
        longest = ATTENTIVE[len(shapes[0])]
        return frozenset(i for i, shape in enumerate(shapes) if i > 0 and SMALLEST < max(shape) <= longest)
    if not all(0 <= level < len(shapes) for level in attention):
        raise DiffkitError(
            f"attention={list(attention)} names a level that is not there; they are 0 to {len(shapes) - 1}"
        )
    return frozenset(attention)
