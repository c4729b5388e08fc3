"""Checkpoints: folders that appear whole or not at all, with a checksum a file, and no pickle anywhere.

``checkpoints/step-00001000/`` holds model, ema and optimizer as safetensors, state.json, and SHA256SUMS in the
format of ``sha256sum -c``. An older one goes only when a newer one is on the disk and has been read back. Where no rank
has whole tensors, each writes its own shards of them: see :mod:`diffkit.run.shards`.
"""

import hashlib
import json
import operator
import os
import re
import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor

from diffkit.errors import DiffkitError
from diffkit.parallel import ALONE, Ranks
from diffkit.run import durable
from diffkit.run.sums import SUMS, damaged, read_sums, verified

Like = Callable[[str, str], Tensor | None]
"""The tensor of a training that one of a checkpoint, by file and name, shall be divided among ranks as, if it is."""

STATE = "state.json"
KEEP = 2
"""How many checkpoints stay: the newest, and one to fall back to."""
_NAME = re.compile(r"step-([0-9]+)(\.old)?")
_FILE = re.compile(r"(.+?)(?:-[0-9]{5}-of-[0-9]{5})?\.safetensors")


class Writer:
    """Writes checkpoints beside the training, one at a time, each of a copy of the tensors on the host.

    What goes wrong in the background is raised by the next call.

    Args:
        folder: where checkpoints are.
        keep: how many stay; 0 keeps all.
        announce: called with each checkpoint once it is on the disk and was read back, in the writing thread.
        group: of the processes that write together, each its own shards; see :meth:`diffkit.parallel.Ranks.beside`.
    """

    def __init__(
        self, folder: Path, keep: int = KEEP, announce: Callable[[Path], None] | None = None, group: Any = None
    ) -> None:
        self.folder, self.keep, self.announce, self.group = folder, keep, announce, group
        self._pool = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Wait for what is being written; an error that ended the block is not hidden by one of writing."""
        self._pool.shutdown()
        if kind is None:
            self.wait()

    def save(
        self, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any], *, prune: bool = True
    ) -> None:
        """Copy the state, and write it while training goes on; wait first for the checkpoint before.

        Older ones go if ``prune`` says so.

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
        self._pending = self._pool.submit(self._write, copies, dict(numbers), self.keep if prune else 0)

    def wait(self) -> None:
        """Return when everything saved so far is on the disk.

        Raises:
            DiffkitError: where it could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            pending.result()

    def _write(self, tensors: dict[str, dict[str, Tensor]], numbers: dict[str, Any], keep: int) -> None:
        path = write(self.folder, tensors, numbers, keep, self.group)
        if self.announce is not None:
            self.announce(path)


def write(
    folder: Path,
    tensors: Mapping[str, Mapping[str, Tensor]],
    numbers: Mapping[str, Any],
    keep: int = KEEP,
    group: Any = None,
) -> Path:
    """Write a checkpoint of step ``numbers["step"]`` into ``folder`` and read it back; then prune all but ``keep``.

    A ``keep`` of 0 keeps all. Those of later steps go, whatever ``keep`` is: the training has gone back behind them.
    With a ``group`` every process of it calls this, and writes its own shards.

    Raises:
        DiffkitError: where it cannot be written; those that were there still are.
    """
    final = folder / f"step-{numbers['step']:08d}"
    part = folder / f".{final.name}.{os.getpid()}"

    def begin() -> Path:
        durable.make_folder(folder)
        for stale in folder.glob(".step-*"):  # of a process that was killed while it wrote
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir()
        return part

    def finish(sums: dict[str, str]) -> None:
        sums[STATE] = durable.put(part / STATE, json.dumps(numbers).encode())
        durable.put(part / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()).encode())
        durable.sync(part)
        if final.exists():  # kept in reach, and taken where the next line is never reached
            _remove(final.with_name(f"{final.name}.old"))
            final.rename(final.with_name(f"{final.name}.old"))
        part.rename(final)
        durable.sync(folder)
        others = [path for path in steps(folder) if path != final]
        older = [path for path in others if _number(path) < numbers["step"]]
        for path in others:
            if path not in (older[: keep - 1] if keep else older):
                _remove(path)

    try:
        if group is None:
            begin()
            files = {f"{name}.safetensors": values for name, values in tensors.items()}
            finish({file: durable.put(part / file, _saved(values)) for file, values in files.items()})
        else:
            from diffkit.run import shards

            shards.write(tensors, begin, finish, group)
    except (OSError, MemoryError, DiffkitError) as error:
        shutil.rmtree(part, ignore_errors=True)
        why = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise DiffkitError(f"checkpoint {final.name} could not be written ({why}: {folder})") from error
    return final


def steps(folder: Path, before: int | None = None) -> list[Path]:
    """Return the checkpoints in ``folder``, newest first, valid or not; those before a step, where one is given."""
    found = [
        path
        for path in folder.glob("step-*")
        if _NAME.fullmatch(path.name) and (before is None or _number(path) < before)
    ]
    return sorted(found, key=lambda path: (_number(path), path.suffix != ".old"), reverse=True)


def read(
    checkpoint: Path, names: tuple[str, ...], like: Like | None = None, ranks: Ranks = ALONE
) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors of files ``names`` and the numbers of a checkpoint, all of whose files are verified.

    Args:
        checkpoint: its folder.
        names: of files.
        like: what tensors shall be divided among ranks as; whole ones are read where none is given.
        ranks: that read together, and verify a share of the files each.

    Raises:
        DiffkitError: where a file is missing, its checksum differs, or it holds something else.
    """
    sums, parts = read_sums(checkpoint), defaultdict(list)
    for file in sums:
        if found := _FILE.fullmatch(file):
            parts[found[1]].append(file)
    in_shards = like is not None or any("-of-" in file for name in names for file in parts[name])
    wanted = [] if in_shards else [f"{name}.safetensors" for name in names]
    files = verified(checkpoint, sums, (*wanted, STATE), ranks)
    try:
        if in_shards:
            from diffkit.run import shards

            places = {name: [checkpoint / file for file in parts[name]] for name in names}
            tensors = {name: shards.read(places[name], like and partial(like, name)) for name in names}
        else:
            tensors = {name: load(files.pop(file)) for name, file in zip(names, wanted, strict=True)}
        numbers = json.loads(files[STATE])
        numbers["step"] = operator.index(numbers["step"])
    except Exception as error:  # whoever wrote the file could write its checksum, and anything a parser trips over
        raise damaged(checkpoint, f"{type(error).__name__}: {error}") from error
    return tensors, numbers


def digest(checkpoint: Path) -> str:
    """Return what a checkpoint that was read is known by: no other has the same."""
    return hashlib.sha256((checkpoint / SUMS).read_bytes()).hexdigest()


def newest(
    folder: Path, names: tuple[str, ...], like: Like | None = None, ranks: Ranks = ALONE, before: int | None = None
) -> tuple[Path, dict[str, dict[str, Tensor]], dict[str, Any], list[str]]:
    """Return the newest valid checkpoint (``before`` a step), its tensors and numbers, and why newer ones were skipped.

    Ranks that call this together agree on which it is; see :func:`read`.

    Raises:
        DiffkitError: where there is none.
    """
    skipped: list[str] = []
    for checkpoint in ranks.told(steps(folder, before)):
        found, why = None, ""
        try:
            found = read(checkpoint, names, like, ranks)
        except DiffkitError as error:
            why = str(error)
        whys = list(filter(None, ranks.gathered(why)))
        if found is not None and not whys:
            return (checkpoint, *found, skipped)
        skipped.append(whys[0])
    reasons = f": {'; '.join(skipped)}" if skipped else "; train longer before you use it"
    raise DiffkitError(f"{folder.parent} has no valid checkpoint{reasons}")


def _saved(values: Mapping[str, Tensor]) -> bytes:
    return save({name: value.detach().cpu().contiguous() for name, value in values.items()})


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
