"""SHA256SUMS: the checksums of a checkpoint's files, which may be damaged, or a stranger's."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from diffkit.errors import DiffkitError
from diffkit.parallel import Ranks
from diffkit.run import durable

SUMS = "SHA256SUMS"
LARGEST_TEXT = 64_000_000
"""Bytes of the largest list of checksums, or of other text, that is read."""


def read_sums(checkpoint: Path) -> dict[str, str]:
    """Return the checksum of every file of a checkpoint, as they are listed."""
    try:
        lines = _bytes(checkpoint / SUMS, LARGEST_TEXT).decode().splitlines()
    except (OSError, ValueError) as error:
        raise damaged(checkpoint, error) from error
    sums = {name: digest for digest, _, name in (line.partition("  ") for line in lines)}
    for name in sums:
        if Path(name).name != name or "\\" in name:
            raise damaged(checkpoint, f"{SUMS} names '{name}'")
    return sums


def verified(checkpoint: Path, sums: Mapping[str, str], wanted: tuple[str, ...], ranks: Ranks) -> dict[str, bytes]:
    """Check a rank's share of a checkpoint's files, and return the contents of those in ``wanted``, checked too."""
    files = {}
    try:
        for place, (name, expected) in enumerate(sums.items()):
            path = _regular(checkpoint / name)
            if name in wanted:
                files[name] = _bytes(path, _memory() if name.endswith(".safetensors") else LARGEST_TEXT)
                found = hashlib.sha256(files[name]).hexdigest()
            elif place % ranks.size == ranks.rank:
                found = durable.digest(path)
            else:
                continue
            if found != expected:
                raise damaged(checkpoint, f"{name} does not match its checksum")
    except (OSError, ValueError) as error:
        raise damaged(checkpoint, error) from error
    return files


def damaged(checkpoint: Path, why: object) -> DiffkitError:
    """Return the error that says so."""
    return DiffkitError(f"checkpoint {checkpoint} is damaged: {why}")


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
