"""Networks, and what a network is told about the data it models."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import prod
from typing import Any, Protocol, runtime_checkable

from torch import Tensor, nn


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
    """

    channels: int
    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    std: float = 1.0
    rate: float = 0.0

    @property
    def rank(self) -> int:
        """The number of spatial axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """The number of values in one item."""
        return self.channels * prod(self.shape)

    def asdict(self) -> dict[str, Any]:
        """Return the spec as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def fromdict(cls, values: dict[str, Any]) -> "DataSpec":
        """Return the spec that :meth:`asdict` wrote."""
        as_tuple: dict[str, Sequence[Any]] = {key: tuple(values[key]) for key in ("shape", "labels")}
        return cls(**{**values, **as_tuple})


@runtime_checkable
class Network(Protocol):
    """A network: a ``torch.nn.Module`` whose constructor takes the :class:`DataSpec` as ``spec``.

    It is told the noise level as λ, never as a step index or a time, so that a trained network works under
    another schedule.
    """

    def __call__(self, x: Tensor, lam: Tensor, **cond: Tensor) -> Tensor:
        """Return an output of the shape of ``x``.

        Args:
            x: ``(batch, channels, *shape)``, scaled to unit variance by the prediction.
            lam: ``(batch,)``, λ = log(α/σ), from about -10 (noise) to 10 (clean).
            cond: ``label``, an int64 tensor ``(batch,)``, where the spec has labels.
        """
        ...


@runtime_checkable
class Attentive(Protocol):
    """A network that says where it attends, which guidance by perturbed attention needs; others do without.

    A layer is a ``torch.nn.Module`` of its own, called as ``layer(q, k, v)``, each ``(batch, heads, positions,
    features)``, and returning softmax(q kᵀ/√features) v. Its ``shape`` is the spatial shape of the positions. Guidance
    hangs torch's own hooks on it for the time of a call.
    """

    def attentions(self) -> Sequence[nn.Module]:
        """Return the layers, from input to output."""
        ...
