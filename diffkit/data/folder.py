"""Data sets made of a user's own files: one class a sub-folder, decoded once, nothing silently left out."""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffkit.contracts.network import DataSpec
from diffkit.data.store import decoded
from diffkit.errors import DiffkitError, listing

NAMED = 10
"""How many skipped files the warning names; all of them are in ``skipped``."""


class FolderData:
    """A folder of files as labelled items; a plugin's folder data set inherits this and says how to decode.

    Sub-folders are classes, named by the folder; files at the top have no label, and a folder with both is an error.
    Links are followed; names that start with a dot are passed over. Every file is decoded once, into a memory-mapped
    array in the user's cache (``DIFFKIT_CACHE``, by default ``~/.cache/diffkit``), and later runs open that array
    unless a file changed. Files that cannot be decoded are skipped, counted and named in a warning; so are files of
    other types, and classes of which nothing is left.

    Args:
        path: the folder.
        suffixes: the file names to read, such as ``(".png", ".jpg")``, in lower case.
        decode: returns a file as an array ``(channels, *shape)`` of ``dtype``; whatever it raises skips the file. It
            is called in several threads.
        spec: channels, shape and rate of the items; the labels are filled in from the folders.
        dtype: ``"uint8"`` or ``"int16"``: the full range stands for [-1, 1].
        salt: whatever else changes what ``decode`` returns, to tell cached arrays apart.

    Attributes:
        labels: the label of every item.
        skipped: why each file that was skipped could not be decoded, by its name inside the folder.

    Raises:
        DiffkitError: where the folder is missing, unreadable, holds nothing that can be decoded, or has files both at
            the top and in classes; and where the cache cannot be written.
    """

    modality: str

    def __init__(
        self,
        path: str | Path,
        suffixes: Iterable[str],
        decode: Callable[[Path], np.ndarray],
        spec: DataSpec,
        dtype: str = "uint8",
        salt: str = "",
    ) -> None:
        if not str(path):
            raise DiffkitError("no folder is given; say where the files are: data.path=FOLDER")
        self.path = Path(path).expanduser()
        names, others = scan(self.path, tuple(suffixes))
        shape = (spec.channels, *spec.shape)
        self._items, self._names, self.skipped = decoded(self.path, names, decode, shape, np.dtype(dtype), salt)
        classes = sorted(_classes(self._names))
        label_of = {name: label for label, name in enumerate(classes)}
        self.labels = [label_of.get(_class(name), 0) for name in self._names]
        self.spec = DataSpec(spec.channels, spec.shape, tuple(classes), spec.std, spec.rate)
        self._warn(len(names), others, _classes(names) - set(classes))

    @property
    def files(self) -> list[Path]:
        """The path of every item."""
        return [self.path / name for name in self._names]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._scaled(self._items[[index]])[0], self.labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        xs = self._scaled(self._items[indices])
        return [(x, self.labels[i]) for x, i in zip(xs.unbind(), indices, strict=True)]

    def __getstate__(self) -> dict[str, Any]:
        mapped = self._items  # is sent to another process by its place, not by its contents
        return {**vars(self), "_items": (mapped.filename, mapped.dtype, mapped.shape)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        place, dtype, shape = state["_items"]
        vars(self).update(state, _items=np.memmap(place, dtype, "r", shape=shape))

    @staticmethod
    def _scaled(array: np.ndarray) -> Tensor:
        # In numpy: torch would share such small sums out among threads, which costs far more where these are busy.
        scaled = array.astype(np.float32)
        if array.dtype == np.uint8:
            scaled /= 127.5
            scaled -= 1
        else:
            scaled /= 32768
        return torch.from_numpy(scaled)

    def _warn(self, found: int, others: Counter[str], lost: set[str]) -> None:
        said = []
        if self.skipped:
            first = "; ".join(f"{name} ({why})" for name, why in list(self.skipped.items())[:NAMED])
            more = f"; and {len(self.skipped) - NAMED} more" if len(self.skipped) > NAMED else ""
            said.append(f"skipped {len(self.skipped)} of {found} files: {first}{more}")
        if lost:
            said.append(f"left out {listing(lost)}, where no file could be read")
        if others:
            said.append(f"passed over {others.total()} files of other types ({listing(others)})")
        if said:
            warnings.warn(f"{self.path}: {'; '.join(said)}", stacklevel=4)


def scan(path: Path, suffixes: tuple[str, ...]) -> tuple[list[str], Counter[str]]:
    """Return the files below ``path`` with one of ``suffixes``, in order, and how many of which other types there are.

    Raises:
        DiffkitError: where the folder is missing, unreadable, empty, or has files both at the top and in classes.
    """
    if not os.path.isdir(path):
        raise DiffkitError(f"{path} is not a folder; give one with files in it: data.path=FOLDER")
    names: list[str] = []
    others: Counter[str] = Counter()
    try:
        for name in _walk(str(path), "", ()):
            suffix = os.path.splitext(name)[1].lower()
            if suffix in suffixes:
                names.append(name)
            else:
                others[suffix or "no suffix"] += 1
    except OSError as error:
        raise DiffkitError(
            f"{error.filename} cannot be read ({error.strerror}); give yourself permission, or move it away"
        ) from error
    if not names:
        instead = f", and {others.total()} files of other types ({listing(others)}) are there" if others else ""
        raise DiffkitError(f"{path} has no files that can be read; diffkit looks for {listing(suffixes)}{instead}")
    top = sum(_class(name) == "" for name in names)
    if 0 < top < len(names):
        raise DiffkitError(
            f"{path} has {top} files beside {len(_classes(names))} folders of classes; move them into a class's "
            f"folder, or train on one of the folders"
        )
    return names, others


def _walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...]) -> Iterator[str]:
    """Yield the names of the files below ``folder``; a link to a folder ``above`` ends there instead of going round."""
    status = os.stat(folder)
    here = (status.st_dev, status.st_ino)
    if here in above:
        return
    with os.scandir(folder) as entries:
        visible = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
    for entry in visible:
        if entry.is_dir():
            yield from _walk(entry.path, f"{prefix}{entry.name}{os.sep}", (*above, here))
        else:
            yield f"{prefix}{entry.name}"


def _class(name: str) -> str:
    """Return the class of a file by its name inside the folder; an empty string at the top."""
    return name.partition(os.sep)[0] if os.sep in name else ""


def _classes(names: Iterable[str]) -> set[str]:
    return {_class(name) for name in names} - {""}
