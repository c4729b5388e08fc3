"""Modalities, data sets, and what stands between data and model: encoders and augmentations."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from diffkit.contracts.network import DataSpec


@runtime_checkable
class Dataset(Protocol):
    """Labelled items of one modality. Any map-style torch data set with these attributes is one.

    ``modality`` is the name of its modality, and ``spec`` says the shape of its items and the names of their
    labels. An item is ``(x, label)``: x a float32 tensor ``(channels, *shape)`` with values in [-1, 1], and label an
    int (0 where there are no labels). Where the spec names conditions, a mapping stands in the label's place: ``label``
    and each condition by its name, one that is unknown left out. A data set may offer ``__getitems__(indices)`` to
    fetch a batch at once, as torch's own may.

    Three attributes are optional. ``labels``: the label of every item, which balancing classes else fetches all items
    for. ``held_out``: a data set of other items, to validate on. ``shares``: how often items are drawn, a sequence of
    ``(indices, weight)``, each drawn ``weight`` times of the sum of weights; without it all are drawn alike.
    """

    modality: str
    spec: DataSpec

    def __len__(self) -> int:
        """Return the number of items."""
        ...

    def __getitem__(self, index: int) -> tuple[Tensor, int | Mapping[str, Any]]:
        """Return item ``index``."""
        ...


@runtime_checkable
class Modality(Protocol):
    """What one item is as a file, and how a person looks at many.

    ``rank`` is the number of spatial axes and ``suffixes`` the file names it reads.
    """

    name: str
    rank: int
    suffixes: tuple[str, ...]

    def read(self, path: Path, spec: DataSpec) -> Tensor:
        """Return the file as float32 ``(channels, *shape)`` in [-1, 1], fitted to ``spec``.

        Any exception means that the file is not a readable item; its text says why.
        """
        ...

    def check(self, x: Tensor, spec: DataSpec) -> None:
        """Raise :class:`~diffkit.DiffkitError` where ``x`` is not an item of this modality and spec."""
        ...

    def save(self, x: Tensor, stem: Path, spec: DataSpec) -> Sequence[Path]:
        """Write one item to files named ``stem`` plus a suffix, and return them."""
        ...

    def sheet(self, xs: Tensor, titles: Sequence[str], path: Path, spec: DataSpec, group: int = 1) -> None:
        """Write one picture of items ``(n, channels, *shape)``, each under its title, to ``path`` (PNG).

        So many as ``group`` says belong together, such as one before and after, and stand side by side.
        """
        ...


@runtime_checkable
class Encoder(Protocol):
    """A map between data and latents; its constructor takes the data's :class:`DataSpec` as ``spec``."""

    latent: DataSpec

    def encode(self, x: Tensor) -> Tensor:
        """Return latents ``(batch, *latent)`` of data ``(batch, *data)``."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """Return data of latents."""
        ...


@runtime_checkable
class Augmentation(Protocol):
    """A random change of training items that leaves them plausible; its constructor may ask for the data's ``spec``.

    It is given a batch in parts. What becomes of an item depends on it, on its place in its part, and on what is drawn;
    how much is drawn depends on the shape of the part alone. So ranks that share one draw the same.
    """

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``x`` ``(batch, channels, *shape)`` changed with host ``generator``."""
        ...
