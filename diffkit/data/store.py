"""Files decoded once: an array on disk that later runs map into memory, for as long as no file changes.

``decoded/<key>/`` in the cache holds ``items``, the decoded files one after the other, and ``index.json``, which says
which files they are and why others are not among them. It appears under its name when it is complete.
"""

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing
from math import prod
from pathlib import Path
from typing import TypeVar

import numpy as np

from diffkit.errors import DiffkitError
from diffkit.paths import cache_folder
from diffkit.progress import Progress

FORMAT = 1
"""Raised when what is stored changes its form."""
AHEAD = 64
"""How many decoded files may wait to be written."""
PATIENCE = 2.0
"""Seconds of decoding after which progress is shown."""

Argument = TypeVar("Argument")
Result = TypeVar("Result")
Stored = tuple[np.memmap, list[str], dict[str, str]]


def decoded(
    folder: Path,
    names: Sequence[str],
    decode: Callable[[Path], np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
    salt: str,
) -> Stored:
    """Return the items ``(n, *shape)``, the names of their files, and why other files were skipped.

    Args:
        folder: where the files are.
        names: of the files, inside the folder.
        decode: returns a file as an array of ``shape`` and ``dtype``; an exception skips the file.
        shape: of an item.
        dtype: of an item.
        salt: whatever else changes what ``decode`` returns.

    Raises:
        DiffkitError: where no file can be decoded, or the cache cannot be written.
    """
    place = cache_folder() / "decoded" / _key(folder, names, shape, dtype, salt)
    found = _open(place, shape, dtype)
    if found is None:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(dir=place.parent, ignore_cleanup_errors=True) as temporary:
                part = Path(temporary, "new")
                part.mkdir()
                _fill(part, folder, names, decode, shape, dtype)
                _move(part, place, shape, dtype)
        except OSError as error:
            raise DiffkitError(
                f"the decoded files of {folder} cannot be kept in {place.parent} ({error.strerror or error}); choose "
                f"another folder for them: set the environment variable DIFFKIT_CACHE"
            ) from error
        found = _open(place, shape, dtype)
    if found is None:
        raise DiffkitError(f"the decoded files in {place} are damaged; remove that folder and start again")
    return found


def _key(folder: Path, names: Sequence[str], shape: tuple[int, ...], dtype: np.dtype, salt: str) -> str:
    """Return a name for what decoding gives; a file that was written, replaced or unlocked since changes it."""
    parts = [str(FORMAT), salt, str(shape), str(dtype), str(folder.resolve())]
    for name in names:
        try:
            status = os.stat(os.path.join(folder, name))
            parts += [name, str(status.st_size), str(status.st_mtime_ns), str(status.st_ctime_ns)]
        except OSError as error:
            parts += [name, str(error.errno)]
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _open(place: Path, shape: tuple[int, ...], dtype: np.dtype) -> Stored | None:
    """Return what is stored, or nothing where it is missing or damaged."""
    try:
        index = json.loads((place / "index.json").read_text(encoding="utf-8"))
        kept, skipped = index["kept"], index["skipped"]
        if (place / "items").stat().st_size != len(kept) * prod(shape) * dtype.itemsize:
            return None
        return np.memmap(place / "items", dtype, "r", shape=(len(kept), *shape)), kept, skipped
    except (OSError, ValueError, KeyError):
        return None


def _fill(
    part: Path,
    folder: Path,
    names: Sequence[str],
    decode: Callable[[Path], np.ndarray],
    shape: tuple[int, ...],
    dtype: np.dtype,
) -> None:
    """Decode into ``part``. Rows are written, not mapped: a full disk then is an error and no crash."""

    def attempt(name: str) -> np.ndarray | str:
        if not os.path.isfile(os.path.join(folder, name)):
            return "it is not a file, or a link to none"
        try:
            array = decode(folder / name)
        except DiffkitError as error:
            return str(error)
        except Exception as error:
            return " ".join(f"{type(error).__name__}: {error}".split())[:200]
        if array.shape != shape or array.dtype != dtype:
            return f"it decodes to {array.dtype} {array.shape} instead of {dtype} {shape}"
        return array

    kept: list[str] = []
    skipped: dict[str, str] = {}
    began, progress = time.monotonic(), None
    with ExitStack() as stack, (part / "items").open("wb") as file:
        results = stack.enter_context(closing(_ahead(attempt, names)))
        for done, (name, result) in enumerate(zip(names, results, strict=True), start=1):
            if isinstance(result, str):
                skipped[name] = result
            else:
                file.write(np.ascontiguousarray(result).data)
                kept.append(name)
            if progress is None and time.monotonic() - began > PATIENCE:
                progress = stack.enter_context(Progress("decode", len(names), done))
            elif progress is not None:
                progress.update(done)
        file.flush()
        os.fsync(file.fileno())
    if not kept:
        why = "; ".join(f"{name} ({reason})" for name, reason in list(skipped.items())[:3])
        raise DiffkitError(f"none of the {len(names)} files in {folder} can be read: {why}")
    with (part / "index.json").open("w", encoding="utf-8") as index:
        json.dump({"kept": kept, "skipped": skipped}, index)
        index.flush()
        os.fsync(index.fileno())


def _move(part: Path, place: Path, shape: tuple[int, ...], dtype: np.dtype) -> None:
    try:
        part.rename(place)
    except OSError:
        if _open(place, shape, dtype) is None:  # it is damaged; else another run stored the same files first
            shutil.rmtree(place, ignore_errors=True)
            part.rename(place)


def _ahead(function: Callable[[Argument], Result], arguments: Iterable[Argument]) -> Generator[Result, None, None]:
    """Map in threads and in order, with a bounded number of results waiting."""
    pool = ThreadPoolExecutor()
    waiting: deque[Future[Result]] = deque()
    try:
        for argument in arguments:
            waiting.append(pool.submit(function, argument))
            if len(waiting) == AHEAD:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
