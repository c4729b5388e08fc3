"""Checkpoints: folders that appear whole or not at all, with a checksum a file, and no pickle anywhere.

``checkpoints/step-00001000/`` holds model, ema and optimizer as safetensors, state.json, and SHA256SUMS in the
format of ``sha256sum -c``. An older one goes only when a newer one is on the disk and has been read back.
"""

import hashlib
import json
import operator
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from diffkit.errors import DiffkitError
from diffkit.run import durable

SUMS = "SHA256SUMS"
STATE = "state.json"
KEEP = 2
"""How many checkpoints stay: the newest, and one to fall back to."""
LARGEST_TEXT = 64_000_000
"""Bytes of the largest list of checksums or state that is read."""
_NAME = re.compile(r"step-([0-9]+)(\.old)?")


class Writer:
    """Writes checkpoints beside the training, one at a time, each of a copy of the tensors on the host.

    What goes wrong in the background is raised by the next call.

    Args:
        folder: where checkpoints are.
        keep: how many stay; 0 keeps all.
        announce: called with each checkpoint once it is on the disk and was read back, in the writing thread.
    """

    def __init__(self, folder: Path, keep: int = KEEP, announce: Callable[[Path], None] | None = None) -> None:
        self.folder, self.keep, self.announce = folder, keep, announce
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what is being written; an error that ended the block is not hidden by one of writing."""
        self._pool.shutdown()
        if kind is None:
            self.wait()

    def save(self, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any]) -> None:
        """Copy the state, and write it while training goes on; wait first for the checkpoint before.

        Raises:
            DiffkitError: where the copy does not fit into memory, or the checkpoint before could not be written.
        """
        self.wait()
        try:
            copies = {name: {key: _on_host(value) for key, value in values.items()} for name, values in tensors.items()}
        except (MemoryError, RuntimeError) as error:
            raise DiffkitError(
                f"checkpoint of step {numbers['step']} could not be copied to the host ({_first_line(error)}); the one "
                f"before is kept; make room in memory, then diffkit resume"
            ) from error
        self._pending = self._pool.submit(self._write, copies, dict(numbers))

    def wait(self) -> None:
        """Return when everything saved so far is on the disk.

        Raises:
            DiffkitError: where it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, tensors: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        path = write(self.folder, tensors, numbers, self.keep)
        if self.announce is not None:
            self.announce(path)


def write(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any], keep: int = KEEP
) -> Path:
    """Write a checkpoint of step ``numbers["step"]`` into ``folder`` and read it back; then prune all but ``keep``.

    A ``keep`` of 0 keeps all. Those of later steps go, whatever ``keep`` is: the training has gone back behind them.

    Raises:
        DiffkitError: where it cannot be written; those that were there still are.
    """
    final = folder / f"step-{numbers['step']:08d}"
    part = folder / f".{final.name}.{os.getpid()}"
    try:
        durable.make_folder(folder)
        for stale in folder.glob(".step-*"):  # of a process that was killed while it wrote
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir()
        sums = ""
        for name, data in _files(tensors, numbers):
            durable.write(part / name, data)
            sums += f"{hashlib.sha256(data).hexdigest()}  {name}\n"
        durable.write(part / SUMS, sums.encode())
        durable.sync(part)
        _verified(part, ())
        if final.exists():  # kept in reach, and taken where the next line is never reached
            _remove(final.with_name(f"{final.name}.old"))
            final.rename(final.with_name(f"{final.name}.old"))
        part.rename(final)
        durable.sync(folder)
    except (OSError, MemoryError, DiffkitError) as error:
        shutil.rmtree(part, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise DiffkitError(f"checkpoint {final.name} could not be written ({why}: {folder})") from error
    others = [path for path in steps(folder) if path != final]
    older = [path for path in others if _number(path) < numbers["step"]]
    for path in others:
        if path not in (older[: keep - 1] if keep else older):
            _remove(path)
    return final


def steps(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, newest first, valid or not."""
    found = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (_number(path), path.suffix != ".old"), reverse=True)


def read(checkpoint: Path, names: tuple[str, ...]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors of files ``names`` and the numbers of a checkpoint, all of whose files are verified.

    Raises:
        DiffkitError: where a file is missing, its checksum differs, or it holds something else.
    """
    wanted = [f"{name}.safetensors" for name in names]
    files = _verified(checkpoint, (*wanted, STATE))
    try:
        tensors = {name: load(files.pop(file)) for name, file in zip(names, wanted, strict=True)}
        numbers = json.loads(files[STATE])
        numbers["step"] = operator.index(numbers["step"])
    except Exception as error:  # whoever wrote the file could write its checksum, and anything a parser trips over
        raise DiffkitError(f"checkpoint {checkpoint} is damaged: {type(error).__name__}: {error}") from error
    return tensors, numbers


def digest(checkpoint: Path) -> str:
    """Return what a checkpoint that was read is known by: no other has the same."""
    return hashlib.sha256((checkpoint / SUMS).read_bytes()).hexdigest()


def newest(
    folder: Path, names: tuple[str, ...]
) -> tuple[Path, dict[str, dict[str, Tensor]], dict[str, Any], list[str]]:
    """Return the newest valid checkpoint, its tensors and numbers, and why newer ones were skipped.

    Raises:
        DiffkitError: where there is none.
    """
    skipped: list[str] = []
    for checkpoint in steps(folder):
        try:
            return (checkpoint, *read(checkpoint, names), skipped)
        except DiffkitError as error:
            skipped.append(str(error))
    reasons = f": {'; '.join(skipped)}" if skipped else "; train longer before you use it"
    raise DiffkitError(f"{folder.parent} has no valid checkpoint{reasons}")


def _verified(checkpoint: Path, wanted: tuple[str, ...]) -> dict[str, bytes]:
    """Check every file of a checkpoint, and return the contents of those in ``wanted``."""
    try:
        sums = _bytes(checkpoint / SUMS, LARGEST_TEXT).decode()
        files = {}
        for line in sums.splitlines():
            digest, _, name = line.partition("  ")
            if Path(name).name != name or "\\" in name:
                raise DiffkitError(f"checkpoint {checkpoint} is damaged: {SUMS} names '{name}'")
            path = checkpoint / name
            if name in wanted:
                files[name] = _bytes(path, LARGEST_TEXT if name == STATE else _memory())
                found = hashlib.sha256(files[name]).hexdigest()
            else:
                with _regular(path).open("rb") as file:
                    found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != digest:
                raise DiffkitError(f"checkpoint {checkpoint} is damaged: {name} does not match its checksum")
    except (OSError, ValueError) as error:
        raise DiffkitError(f"checkpoint {checkpoint} is damaged: {error}") from error
    return files


def _bytes(path: Path, largest: int) -> bytes:
    size = _regular(path).stat().st_size
    if size > largest:
        raise ValueError(f"{path} has {size} bytes, more than the {largest} that could be read")
    return path.read_bytes()


def _regular(path: Path) -> Path:
    """Return the path of a file; a link may lead anywhere, and a pipe has no end."""
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise ValueError(f"{path} is not a file but a link, a folder or a device")
    return path


def _memory() -> int:
    """Return how much memory this machine has, in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if os.name == "posix" else 1 << 62


def _files(tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    for name, values in tensors.items():
        yield f"{name}.safetensors", save({key: value.detach().cpu().contiguous() for key, value in values.items()})
    yield STATE, json.dumps(numbers).encode()


def _on_host(value: Tensor) -> Tensor:
    return value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)


def _number(path: Path) -> int:
    found = _NAME.fullmatch(path.name)
    return int(found[1]) if found else -1


def _remove(path: Path) -> None:
    """Remove a checkpoint; its name goes first, so that no torn one is ever found under it."""
    gone = path.with_name(f".{path.name}.{os.getpid()}")
    with suppress(OSError):
        path.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or ["out of memory"])[0]
