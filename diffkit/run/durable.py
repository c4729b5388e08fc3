"""Files and folders that are still there after a crash or a loss of power."""

import hashlib
import os
from pathlib import Path

from diffkit.errors import DiffkitError


def write(path: Path, data: bytes) -> None:
    """Write a file, and return when the disk has it; its name in the folder is safe once the folder is synced."""
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
        if hasattr(os, "posix_fadvise"):  # so that whoever reads it back reads the disk and not the memory
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def put(path: Path, data: bytes) -> str:
    """Write a file as :func:`write` does, read it back, and return its SHA-256.

    Raises:
        DiffkitError: where another is read.
    """
    write(path, data)
    wanted = hashlib.sha256(data).hexdigest()
    if digest(path) != wanted:
        raise DiffkitError(f"{path.name} was not read as it was written")
    return wanted


def digest(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def make_folder(path: Path) -> None:
    """Make a folder, and those it is in, where they are missing."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        sync(path.parent)


def sync(folder: Path) -> None:
    """Return when the disk has the names in a folder."""
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
