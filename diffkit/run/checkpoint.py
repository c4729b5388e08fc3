"""Checkpoints: folders that appear whole or not at all, with a checksum a file, and no pickle anywhere.

``checkpoints/step-00001000/`` holds model, ema and optimizer as safetensors, state.json, and SHA256SUMS in the
format of ``sha256sum -c``.
"""

import hashlib
import json
import operator
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from diffkit.errors import DiffkitError

SUMS = "SHA256SUMS"
KEEP = 2
"""How many checkpoints stay: the newest, and one to fall back to."""


def write(
    folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], numbers: Mapping[str, Any], keep: int = KEEP
) -> Path:
    """Write a checkpoint of step ``numbers["step"]`` into ``folder``, durably, then prune all but ``keep``; 0: none."""
    final = folder / f"step-{numbers['step']:08d}"
    files = {f"{name}.safetensors": save(_contiguous(values)) for name, values in tensors.items()}
    files["state.json"] = json.dumps(numbers).encode()
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    part = folder / f".{final.name}.{os.getpid()}"
    try:
        for stale in folder.glob(".step-*"):  # of a process that was killed while it wrote
            shutil.rmtree(stale, ignore_errors=True)
        part.mkdir(parents=True)
        for name, data in {**files, SUMS: sums.encode()}.items():
            _write_durably(part / name, data)
        _sync_folder(part)
        if final.exists():
            shutil.rmtree(final)
        part.rename(final)
        _sync_folder(folder)
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise DiffkitError(f"checkpoint {final.name} could not be written ({error.strerror}: {folder})") from error
    for old in steps(folder)[keep:] if keep else ():
        shutil.rmtree(old, ignore_errors=True)
    return final


def steps(folder: Path) -> list[Path]:
    """Return the checkpoints in ``folder``, newest first, valid or not."""
    return sorted(folder.glob("step-*"), reverse=True)


def read(checkpoint: Path, names: tuple[str, ...]) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
    """Return the tensors of files ``names`` and the numbers of a checkpoint, all of whose files are verified.

    Raises:
        DiffkitError: where a file is missing, its checksum differs, or it holds something else.
    """
    files = _verified(checkpoint)
    try:
        tensors = {name: load(files[f"{name}.safetensors"]) for name in names}
        numbers = json.loads(files["state.json"])
        numbers["step"] = operator.index(numbers["step"])
    except (KeyError, TypeError, ValueError, SafetensorError) as error:
        raise DiffkitError(f"checkpoint {checkpoint} is damaged: {type(error).__name__}: {error}") from error
    return tensors, numbers


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


def _verified(checkpoint: Path) -> dict[str, bytes]:
    try:
        sums = (checkpoint / SUMS).read_text(encoding="utf-8")
        files = {}
        for line in sums.splitlines():
            digest, _, name = line.partition("  ")
            if Path(name).name != name:
                raise DiffkitError(f"checkpoint {checkpoint} is damaged: {SUMS} names '{name}'")
            files[name] = (checkpoint / name).read_bytes()
            if hashlib.sha256(files[name]).hexdigest() != digest:
                raise DiffkitError(f"checkpoint {checkpoint} is damaged: {name} does not match its checksum")
    except (OSError, UnicodeDecodeError) as error:
        raise DiffkitError(f"checkpoint {checkpoint} is damaged: {error}") from error
    return files


def _contiguous(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in values.items()}


def _write_durably(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
