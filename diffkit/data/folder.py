"""Data sets made of a user's own files: one class a sub-folder, decoded once, nothing silently left out."""

import hashlib
import os
import tempfile
import warnings
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from diffkit.contracts.network import DataSpec
from diffkit.errors import DiffkitError, listing
from diffkit.paths import cache_folder

Result = TypeVar("Result")


class FolderData:
    """A folder of files as labelled items; a plugin's folder data set inherits this and says how to decode.

    Sub-folders are classes, named by the folder; files at the top have no label, and a folder with both is an error.
    Every file is decoded once, into a memory-mapped array in the user's cache (``DIFFKIT_CACHE``, by default
    ``~/.cache/diffkit``), and later runs open that array unless a file changed. Files that cannot be decoded are
    skipped, counted and named in a warning.

    Args:
        path: the folder.
        suffixes: the file names to read, such as ``(".png", ".jpg")``, in lower case.
        decode: returns a file as an array ``(channels, *shape)`` of ``dtype``; whatever it raises skips the file.
        spec: channels, shape and rate of the items; the labels are filled in from the folders.
        dtype: ``"uint8"`` or ``"int16"``: the full range stands for [-1, 1].
        salt: whatever else changes what ``decode`` returns, to tell cached arrays apart.
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
        self.path = Path(path).expanduser()
        files, labels, classes = scan(self.path, tuple(suffixes))
        self.skipped: dict[str, str] = {}
        self._items, kept = self._decoded(files, decode, (spec.channels, *spec.shape), dtype, salt)
        self.files = [files[i] for i in kept]
        self._labels = [labels[i] for i in kept]
        self.spec = DataSpec(spec.channels, spec.shape, classes, spec.std, spec.rate)
        if self.skipped:
            first = "; ".join(f"{name} ({why})" for name, why in list(self.skipped.items())[:5])
            more = f"; and {len(self.skipped) - 5} more" if len(self.skipped) > 5 else ""
            warnings.warn(
                f"{self.path}: skipped {len(self.skipped)} of {len(files)} files: {first}{more}", stacklevel=2
            )

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._scaled(np.asarray(self._items[index])), self._labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        xs = self._scaled(np.stack([self._items[i] for i in indices]))
        return [(x, self._labels[i]) for x, i in zip(xs, indices, strict=True)]

    @staticmethod
    def _scaled(array: np.ndarray) -> Tensor:
        scaled = torch.from_numpy(np.array(array, dtype=np.float32))
        return scaled / 127.5 - 1 if array.dtype == np.uint8 else scaled / 32768

    def _decoded(
        self, files: list[Path], decode: Callable[[Path], np.ndarray], shape: tuple[int, ...], dtype: str, salt: str
    ) -> tuple[np.ndarray, list[int]]:
        """Return the decoded files as one array, and which of ``files`` its rows are."""
        digest = hashlib.sha256(f"{salt}|{shape}|{dtype}".encode())
        for file in files:
            stat = file.stat()
            digest.update(f"|{file.resolve()}|{stat.st_size}|{stat.st_mtime_ns}".encode())
        stored = cache_folder() / "decoded" / f"{digest.hexdigest()[:32]}.npz.d"
        if not stored.is_dir():
            self._store(stored, files, decode, shape, dtype)
        index = np.load(stored / "index.npz")
        self.skipped = dict(zip(index["skipped"].tolist(), index["reasons"].tolist(), strict=True))
        kept = index["kept"].tolist()
        if not kept:
            raise DiffkitError(
                f"none of the {len(files)} files in {self.path} could be read: {next(iter(self.skipped.items()))}"
            )
        return np.load(stored / "items.npy", mmap_mode="r"), kept

    def _store(
        self, stored: Path, files: list[Path], decode: Callable[[Path], np.ndarray], shape: tuple[int, ...], dtype: str
    ) -> None:
        """Decode in threads, a few files ahead, into a folder that appears under its name when it is complete."""

        def attempt(file: Path) -> np.ndarray | str:
            try:
                array = decode(file)
                if array.shape != shape or array.dtype != dtype:
                    return f"decoded to {array.dtype} {array.shape} instead of {dtype} {shape}"
                return array
            except Exception as error:
                return f"{type(error).__name__}: {error}".splitlines()[0][:200]

        stored.parent.mkdir(parents=True, exist_ok=True)
        kept: list[int] = []
        skipped: dict[str, str] = {}
        with tempfile.TemporaryDirectory(dir=stored.parent) as folder:
            part = Path(folder, "new")
            part.mkdir()
            items = np.lib.format.open_memmap(part / "items.npy", "w+", dtype, (max(len(files), 1), *shape))
            for i, result in enumerate(_ahead(attempt, files)):
                if isinstance(result, str):
                    skipped[str(files[i].relative_to(self.path))] = result
                else:
                    items[len(kept)] = result
                    kept.append(i)
            items.flush()
            np.savez(
                part / "index.npz",
                kept=np.array(kept, dtype=np.int64),
                skipped=np.array(list(skipped), dtype=str),
                reasons=np.array(list(skipped.values()), dtype=str),
            )
            try:
                part.rename(stored)
            except OSError:
                if not stored.is_dir():  # else another run stored the same files first
                    raise


def scan(path: Path, suffixes: tuple[str, ...]) -> tuple[list[Path], list[int], tuple[str, ...]]:
    """Return the files of a folder with one of ``suffixes``, their labels, and the names of the classes.

    Raises:
        DiffkitError: where the folder is missing, unreadable, empty, or has files both at the top and in classes.
    """
    if not path.is_dir():
        raise DiffkitError(f"{path} is not a folder; give one with files in it: data.path=FOLDER")
    if not os.access(path, os.R_OK | os.X_OK):
        raise DiffkitError(f"{path} cannot be read; give it read permission: chmod -R u+rX {path}")
    classes = tuple(sorted(entry.name for entry in path.iterdir() if entry.is_dir() and not entry.name.startswith(".")))
    top = _matching(path.iterdir(), suffixes)
    inside = {name: _matching((path / name).rglob("*"), suffixes) for name in classes}
    inside = {name: files for name, files in inside.items() if files}
    if not top and not inside:
        raise DiffkitError(f"{path} has no files that can be read; diffkit looks for {listing(suffixes)} there")
    if top and inside:
        raise DiffkitError(
            f"{path} has {len(top)} files beside {len(inside)} folders of classes; move them into a class's folder, or "
            f"train on one of the folders"
        )
    if top:
        return top, [0] * len(top), ()
    files = [(file, label) for label, found in enumerate(inside.values()) for file in found]
    return [file for file, _ in files], [label for _, label in files], tuple(inside)


def _matching(paths: Iterable[Path], suffixes: tuple[str, ...]) -> list[Path]:
    return sorted(p for p in paths if p.suffix.lower() in suffixes and p.is_file() and not p.name.startswith("."))


def _ahead(function: Callable[[Path], Result], files: list[Path]) -> Iterable[Result]:
    """Map in threads and in order, with a bounded number of results waiting."""
    with ThreadPoolExecutor() as pool:
        iterator = iter(files)
        waiting = [pool.submit(function, file) for file in islice(iterator, 64)]
        while waiting:
            yield waiting.pop(0).result()
            waiting.extend(pool.submit(function, file) for file in islice(iterator, 1))
