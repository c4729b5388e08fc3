"""The contact sheet: many items on one page, each under its title, for a person to look at."""

import os
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from math import ceil, log
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffkit.errors import DiffkitError

MARGIN, GAP = 24, 12
"""Pixels around the page, and between tiles."""
TITLE, HEADING = 13, 18
"""The sizes of the type, in pixels."""
LARGEST = 100_000_000
"""Pixels of the largest page; tiles that do not fit on it are left out, and a heading says so."""
FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "Arial Unicode.ttf",
    "msyh.ttc",
    "arial.ttf",
)
"""Fonts of common systems, for titles in letters that Pillow's own font does not have."""
PAPER, LINE, INK, PALE_INK = (255, 255, 255), (224, 224, 224), (32, 32, 32), (96, 96, 96)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def contact_sheet(tiles: Sequence[np.ndarray], titles: Sequence[str], path: Path, group: int = 1) -> None:
    """Write tiles in rows on a white page, each under its title, as a PNG that appears whole or not at all.

    Args:
        tiles: uint8 arrays ``(height, width, 3)``, all of one size.
        titles: one for each tile; one too long for its tile is cut off with an ellipsis. No room is left for titles
            where all are empty.
        path: the file to write.
        group: how many tiles belong together; a row holds whole groups, as many as make the page about square.

    Raises:
        ValueError: for no tiles, tiles of other types or several sizes, or another number of titles than of tiles.
        DiffkitError: where the file cannot be written.
    """
    if not tiles or any(tile.dtype != np.uint8 or tile.shape != tiles[0].shape for tile in tiles):
        raise ValueError("a sheet needs one or more uint8 tiles of one size")
    if tiles[0].ndim != 3 or tiles[0].shape[2] != 3:
        raise ValueError(f"a sheet needs tiles (height, width, 3), not {tiles[0].shape}")
    if len(titles) != len(tiles):
        raise ValueError(f"a sheet needs one title a tile, not {len(titles)} for {len(tiles)}")

    height, width, _ = tiles[0].shape
    caption = TITLE + 7 if any(titles) else 0
    cell_width, cell_height = width + GAP, height + caption + GAP
    shown = min(len(tiles), max(1, LARGEST // (cell_width * cell_height)))
    heading = f"the first {shown} of {len(tiles)}" if shown < len(tiles) else ""
    columns = _columns(shown, cell_width, cell_height, group)
    rows = ceil(shown / columns)
    top = MARGIN + (HEADING + GAP + 4 if heading else 0)

    inner = columns * cell_width - GAP
    font = _font(HEADING, heading)
    inner = max(inner, ceil(font.getlength(heading)))
    page = Image.new("RGB", (inner + 2 * MARGIN, top + rows * cell_height - GAP + MARGIN), PAPER)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN), heading, INK, font)
    font = _font(TITLE, "".join(titles[:shown]))
    for i, (tile, title) in enumerate(zip(tiles[:shown], titles[:shown], strict=True)):
        x, y = MARGIN + i % columns * cell_width, top + i // columns * cell_height
        draw.text((x, y), _fitted(title, width, font), PALE_INK, font)
        draw.rectangle((x - 1, y + caption - 1, x + width, y + caption + height), outline=LINE)
        page.paste(Image.fromarray(tile), (x, y + caption))
    _save(page, path)


def _columns(n: int, width: int, height: int, group: int) -> int:
    """Return how many columns make the page nearly square and the last row nearly full, of whole groups."""

    def cost(columns: int) -> float:
        rows = ceil(n / columns)
        return abs(log(columns * width / (rows * height))) + (rows * columns - n) / columns

    return min(range(group, max(n, group) + 1, group), key=cost)


def _font(size: int, text: str) -> Font:
    """Return the font that lacks the fewest letters of ``text``: Pillow's own, or one of the system's."""
    own, letters = ImageFont.load_default(size), {letter for letter in text if not letter.isspace()}
    if not _lacks(own, letters):
        return own
    return min([own, *_installed(size)], key=lambda font: _lacks(font, letters))


@cache
def _installed(size: int) -> list[Font]:
    found: list[Font] = []
    for name in FONTS:
        with suppress(OSError):
            found.append(ImageFont.truetype(name, size))
    return found


def _lacks(font: Font, letters: set[str]) -> int:
    missing = bytes(font.getmask("\uffff"))
    return sum(bytes(font.getmask(letter)) == missing for letter in letters)


def _fitted(text: str, width: int, font: Font) -> str:
    """Return ``text`` on one line, as much of it as fits into ``width`` pixels."""
    text = " ".join(text.split())
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(f"{text}…") > width:
        text = text[:-1]
    return f"{text.rstrip()}…"


def _save(page: Image.Image, path: Path) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}.png")
    try:
        page.save(part, "PNG")
        part.replace(path)
    except OSError as error:
        raise DiffkitError(f"{path} cannot be written ({error.strerror or error})") from error
    finally:
        part.unlink(missing_ok=True)
