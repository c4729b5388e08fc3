"""Charts as one PNG: two in a row, under a legend of the runs."""

import colorsys
import os
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from diffkit import DiffkitError
from diffkit_report.chart import Chart, axes, number, thinned

WIDTH, HEIGHT, GAP, MARGIN = 620, 360, 28, 32
LEFT, RIGHT, TOP, BOTTOM = 64, 12, 40, 36
FINE = 3
"""Everything is drawn so many times larger, and then made smaller, so that lines have no steps."""
PAPER, GRID, PALE, INK = "#ffffff", "#e6e6ea", "#6b6b76", "#1d1d24"
COLOURS = ("#2f6fde", "#d9592b", "#1f9d6b", "#8a4fd0", "#c9971c", "#cf3f7a", "#1a9aa8", "#7a6a55")
LEGEND_ROW = 24


def draw(charts: list[Chart], names: list[str], path: Path) -> None:
    """Write charts to a PNG; the lines of ``names[i]`` have the i-th colour in all of them.

    Raises:
        DiffkitError: where the file cannot be written.
    """
    columns = min(2, len(charts))
    width = 2 * MARGIN + columns * WIDTH + (columns - 1) * GAP
    spots, legend_height = _legend(names, width)
    rows = -(-len(charts) // columns)
    top = MARGIN + legend_height + 12
    page = Image.new("RGB", (width * FINE, (top + rows * (HEIGHT + GAP) - GAP + MARGIN) * FINE), PAPER)
    pen = _Pen(ImageDraw.Draw(page))
    colours = dict(zip(names, _colours(len(names)), strict=True))
    for name, (x, y) in zip(names, spots, strict=True):
        pen.line([(x, y + 8), (x + 22, y + 8)], colours[name], 3)
        pen.text(x + 30, y, name, 14, INK)
    for i, chart in enumerate(charts):
        _chart(pen, chart, colours, MARGIN + i % columns * (WIDTH + GAP), top + i // columns * (HEIGHT + GAP))
    page = page.resize((page.width * 2 // FINE, page.height * 2 // FINE), Image.Resampling.LANCZOS)
    part = path.with_name(f".{path.name}.{os.getpid()}.png")
    try:
        page.save(part, "PNG")
        part.replace(path)
    except OSError as error:
        raise DiffkitError(f"{path} cannot be written ({error.strerror or error}); name another: --png FILE") from error
    finally:
        part.unlink(missing_ok=True)


class _Pen:
    """Draws in plain units on the larger picture."""

    def __init__(self, pen: ImageDraw.ImageDraw) -> None:
        self.pen = pen

    def line(self, places: list[tuple[float, float]], colour: str, width: float) -> None:
        self.pen.line([(x * FINE, y * FINE) for x, y in places], colour, round(width * FINE), joint="curve")

    def dot(self, x: float, y: float, colour: str) -> None:
        self.pen.circle((x * FINE, y * FINE), 4 * FINE, colour)

    def text(self, x: float, y: float, said: str, size: int, colour: str, anchor: str = "la") -> None:
        self.pen.text((x * FINE, y * FINE), said, colour, ImageFont.load_default(size * FINE), anchor)


def _chart(pen: _Pen, chart: Chart, colours: dict[str, str], x0: float, y0: float) -> None:
    x_axis, y_axis = axes(chart)
    left, right, top, bottom = x0 + LEFT, x0 + WIDTH - RIGHT, y0 + TOP, y0 + HEIGHT - BOTTOM
    pen.text(x0, y0, chart.title, 17, INK)
    for value in y_axis.ticks:
        y = bottom - y_axis.place(value) * (bottom - top)
        pen.line([(left, y), (right, y)], GRID, 1)
        pen.text(left - 8, y, number(value), 13, PALE, "rm")
    pen.line([(left, bottom), (right, bottom)], PALE, 1)
    for value in x_axis.ticks:
        x = left + x_axis.place(value) * (right - left)
        pen.line([(x, bottom), (x, bottom + 4)], PALE, 1)
        pen.text(min(x, right - 14), bottom + 8, number(value), 13, PALE, "ma")
    for series in chart.series:
        places = [
            (left + x_axis.place(x) * (right - left), bottom - y_axis.place(y) * (bottom - top))
            for x, y in thinned(series.points, x_axis)
        ]
        colour = colours[series.name]
        if len(places) == 1:
            pen.dot(*places[0], colour)
        else:
            pen.line(places, _pale(colour) if series.faint else colour, 1 if series.faint else 2)


def _legend(names: list[str], width: int) -> tuple[list[tuple[float, float]], int]:
    """Return where each name stands, in rows, and how high the rows are together."""
    font, spots = ImageFont.load_default(14), []
    x, y = float(MARGIN), float(MARGIN)
    for name in names:
        needs = 30 + font.getlength(name) + 26
        if x > MARGIN and x + needs > width - MARGIN:
            x, y = MARGIN, y + LEGEND_ROW
        spots.append((x, y))
        x += needs
    return spots, int(y) - MARGIN + LEGEND_ROW


def _colours(n: int) -> list[str]:
    if n <= len(COLOURS):
        return list(COLOURS[:n])
    shades = [colorsys.hsv_to_rgb(0.85 * i / n, 0.75, 0.8 if i % 2 else 0.6) for i in range(n)]
    return [f"#{round(r * 255):02x}{round(g * 255):02x}{round(b * 255):02x}" for r, g, b in shades]


def _pale(colour: str) -> str:
    mixed = [round(0.25 * int(colour[i : i + 2], 16) + 0.75 * 255) for i in (1, 3, 5)]
    return "#" + "".join(f"{part:02x}" for part in mixed)
