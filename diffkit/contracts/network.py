"""Networks, and what a network is told about the data it models."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import inf, prod
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import torch
from torch import Tensor, nn

from diffkit.errors import DiffkitError

ConditionKind = Literal["classes", "values", "sequence", "map"]
CONDITIONS: tuple[str, ...] = get_args(ConditionKind)


@dataclass(frozen=True)
class ConditionSpec:
    """One thing, besides the label, that the data says of an item and a network is told.

    Where it is missing it is NaN in every place (``size`` for classes), which stands for "any": items with and without
    it share a batch, and guidance has something to compare with.

    Args:
        name: of the keyword argument it is passed as.
        kind: ``"classes"``, an int64 class ``(batch,)``, as a second kind of label; ``"values"``, continuous values
            ``(batch, size)``; ``"sequence"``, ``(batch, length, size)``, to attend to; ``"map"``, data of the item's
            own spatial shape ``(batch, size, *shape)``, as a picture to colour or a place to fill.
        size: how many classes, values, features or channels.
        length: of a sequence.
    """

    name: str
    kind: ConditionKind
    size: int
    length: int = 1

    def __post_init__(self) -> None:
        if not (isinstance(self.name, str) and self.name.isidentifier() and self.kind in CONDITIONS):
            raise DiffkitError(
                f"a condition {self.name!r} of kind {self.kind!r} is none; give a name that Python can use, and one of "
                f"the kinds {', '.join(CONDITIONS)}"
            )
        if not _are_sizes(self.size, self.length):
            raise DiffkitError(
                f"condition '{self.name}' has size={self.size} and length={self.length}; give whole numbers above 0"
            )

    def null(self, shape: Sequence[int], n: int) -> Tensor:
        """Return ``n`` missing ones, for items of spatial shape ``shape``."""
        if self.kind == "classes":
            return torch.full((n,), self.size)
        sides = {"values": (), "sequence": (self.length,), "map": ()}[self.kind]
        after = tuple(shape) if self.kind == "map" else ()
        return torch.full((n, *sides, self.size, *after), torch.nan)


@dataclass(frozen=True)
class DataSpec:
    """What the model sees of the data: everything a network needs to be built for it.

    Args:
        channels: the number of channels C.
        shape: the spatial shape: ``(length,)`` for audio, ``(height, width)`` for images,
            ``(frames, height, width)`` for video. Its length is the rank, and networks follow it.
        labels: the names of the classes; empty for data without labels. The label of a class is its position,
            and ``len(labels)`` is the null label, which stands for "any".
        std: the standard deviation of the data's values, which preconditioning and weightings scale with.
        rate: samples a second for audio, frames a second for video; 0 where there is no such thing.
        conditions: what else is known of an item.
        outputs: how many values a network returns for each of the data's; 2 for a prediction that also says how
            uncertain it is.
    """

    channels: int
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    std: float = 1.0
    rate: float = 0.0
    conditions: tuple[ConditionSpec, ...] = ()
    outputs: int = 1

    def __post_init__(self) -> None:
        if not _are_sizes(self.channels, self.outputs, *self.shape):
            raise DiffkitError(
                f"channels={self.channels!r}, shape={str(self.shape)[:60]} and outputs={self.outputs!r} are of no "
                f"data; give whole numbers above 0, for pictures such as DataSpec(channels=3, shape=(32, 32))"
            )
        if not all(isinstance(label, str) for label in self.labels) or len({*self.labels}) < len(self.labels):
            raise DiffkitError(
                f"the labels of a spec are the names of its classes, each once, but not {str(self.labels)[:60]}; such "
                f"as labels=('cat', 'dog')"
            )
        if not 0 < self.std < inf or not 0 <= self.rate < inf:
            raise DiffkitError(
                f"std={self.std} and rate={self.rate} are of no data; give a standard deviation above 0, and samples "
                f"or frames a second, or 0"
            )

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values in one item."""
        return self.channels * prod(self.shape)

    @property
    def told(self) -> tuple[str, ...]:
        """The names of what a network is told of an item."""
        return (*(["label"] if self.labels else []), *(one.name for one in self.conditions))

    def asdict(self) -> dict[str, Any]:
        """Return the spec as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def fromdict(cls, values: dict[str, Any]) -> "DataSpec":
        """Return the spec that :meth:`asdict` wrote."""
        as_tuple: dict[str, Sequence[Any]] = {key: tuple(values[key]) for key in ("shape", "labels")}
        conditions = tuple(ConditionSpec(**one) for one in values.get("conditions", ()))
        return cls(**{**values, **as_tuple, "conditions": conditions})


def _are_sizes(*values: Any) -> bool:
    return all(isinstance(value, int) and value > 0 for value in values)


@runtime_checkable
class Network(Protocol):
    """A network: a ``torch.nn.Module`` whose constructor takes the :class:`DataSpec` as ``spec``.

    It is told the noise level as λ, never as a step index or a time, so that a trained network works under
    another schedule.
    """

    def __call__(self, x: Tensor, lam: Tensor, **cond: Tensor) -> Tensor:
        """Return ``(batch, outputs · channels, *shape)``: one output of the shape of ``x`` after the other.

        Args:
            x: ``(batch, channels, *shape)``, scaled to unit variance by the prediction.
            lam: ``(batch,)``, λ = log(α/σ), from about -10 (noise) to 10 (clean). A network with an attribute
                ``per_frame`` that is true also takes one a frame, ``(batch, frames)``, the first axis of the shape.
            cond: ``label``, an int64 tensor ``(batch,)``, where the spec has labels, and each of the spec's conditions
                by its name. One that is not passed is missing, as is one that is NaN.
        """
        ...


@runtime_checkable
class Attentive(Protocol):
    """A network that says where it attends, which guidance by perturbed attention needs; others do without.

    A layer is a ``torch.nn.Module`` of its own, called as ``layer(q, k, v)``, each ``(batch, heads, positions,
    features)``, and returning softmax(q kᵀ/√features) v. Its ``shape`` is the spatial shape of the first
    positions; those of a sequence's tokens, where the spec has any, follow. Guidance hangs torch's own hooks on it for
    the time of a call.
    """

    def attentions(self) -> Sequence[nn.Module]:
        """Return the layers, from input to output."""
        ...


@runtime_checkable
class Constrained(Protocol):
    """A network whose parameters stay within a set, as vectors of a fixed length do; others do without.

    A forward pass leaves parameters alone: under FSDP2 it sees copies. A loop of your own calls :meth:`constrain`, too.
    """

    def constrain(self) -> None:
        """Put the parameters that are trained back into the set, in place; called after each step of the optimizer.

        Where they are in shards, they are divided along the first axis.
        """
        ...


@runtime_checkable
class Inflatable(Protocol):
    """A network that can start from one for data of fewer axes, as one for clips from one for pictures."""

    def inflate(self, weights: Mapping[str, Tensor]) -> None:
        """Take over the state dict of a network of the same options for data of fewer axes.

        Raises:
            DiffkitError: where the networks do not correspond.
        """
        ...
