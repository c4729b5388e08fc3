"""Samples as what a page can hold: pictures, sounds and clips, each in its own text."""

import base64
import io
import re
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".gif": "image/gif",
    ".wav": "audio/wav",
    ".flac": "audio/flac",
    ".mp4": "video/mp4",
    ".webm": "video/webm",
}
"""What browsers show, by suffix; of files that differ in it alone, the first here is shown."""
LARGEST = 3_000_000
"""Bytes of the largest file that is put into a page as it is."""
WIDEST = 1600
"""Pixels of the widest picture that a larger one is made into."""
MADE = re.compile(r".*-([a-z]+)(-\d+)?")
"""The name of a folder beside the samplings that another command than ``sample`` made, which it names."""


@dataclass(frozen=True)
class Medium:
    """One file: ``kind`` is image, audio or video, ``url`` holds all of it, ``small`` says that it has few pixels."""

    title: str
    kind: str
    url: str
    small: bool = False


def samplings(run: Path) -> list[Path]:
    """Return the folders of samples that have a sheet, the oldest first."""
    return [path for path in _with_sheet(run) if not MADE.fullmatch(path.name)]


def made(run: Path) -> dict[str, Path]:
    """Return for each command that made something of files, such as ``inpaint``, the newest folder with a sheet."""
    return {found[1]: path for path in _with_sheet(run) if (found := MADE.fullmatch(path.name))}


def _with_sheet(run: Path) -> list[Path]:
    folder = run / "samples"
    if folder.is_symlink():
        return []
    found = [path for path in folder.glob("[!.]*") if _own(path / "sheet.png") and not path.is_symlink()]
    return sorted(found, key=lambda path: ((path / "sheet.png").stat().st_mtime_ns, path.name))


def sheet(folder: Path, widest: int = WIDEST) -> Medium | None:
    """Return the sheet of a sampling, made smaller where it is too large; none where it is no picture."""
    path = folder / "sheet.png"
    try:
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width <= widest and path.stat().st_size <= LARGEST:
                return Medium(folder.name, "image", _url("image/png", path.read_bytes()))
            height = max(1, round(picture.height * min(1.0, widest / picture.width)))
            smaller = picture.convert("RGB").resize((min(widest, picture.width), height), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    held = io.BytesIO()
    smaller.save(held, "PNG", optimize=True)
    return Medium(folder.name, "image", _url("image/png", held.getvalue()))


def items(folder: Path, most: int) -> list[Medium]:
    """Return the first samples of a folder in the order they were drawn in, which goes through the labels."""
    stems: dict[str, Path] = {}
    for suffix in TYPES:
        for path in folder.glob(f"*_*{suffix}"):
            if _own(path) and path.stat().st_size <= LARGEST:
                stems.setdefault(path.stem, path)
    chosen = sorted(stems.values(), key=lambda path: path.stem.rpartition("_")[::-1])[:most]
    return [_medium(path) for path in chosen]


def _medium(path: Path) -> Medium:
    kind = TYPES[path.suffix].partition("/")[0]
    small = False
    if kind == "image":
        try:
            with Image.open(path) as picture:
                small = picture.width <= 64
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            small = False
    return Medium(path.stem.rpartition("_")[0], kind, _url(TYPES[path.suffix], path.read_bytes()), small)


def _own(path: Path) -> bool:
    """Return whether a path is a file of the run itself, and not a link to somebody else's."""
    return path.is_file() and not path.is_symlink()


def _url(type: str, data: bytes) -> str:
    return f"data:{type};base64,{base64.b64encode(data).decode()}"
