"""A chart as inline SVG: coloured by the page's style sheet, and readable by pointing at it."""

from itertools import pairwise

from markupsafe import Markup

from diffkit_report.chart import Axis, Chart, axes, number, thinned
from diffkit_report.history import Points

WIDTH, HEIGHT = 440, 240
LEFT, RIGHT, TOP, BOTTOM = 54, 14, 10, 34
POINTED = 48
"""How many columns of a chart say their value when they are pointed at."""

Place = tuple[float, float]


def svg(chart: Chart) -> Markup:
    """Return the chart as an ``svg`` element."""
    x_axis, y_axis = axes(chart)
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}">').format(WIDTH, HEIGHT, chart.title)
    ]
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    for value in y_axis.ticks:
        y = _at(0, y_axis.place(value))[1]
        parts.append(Markup('<path class="grid" d="M{} {:.1f}H{}"/>').format(LEFT, y, right))
        parts.append(
            Markup('<text x="{}" y="{:.1f}" text-anchor="end">{}</text>').format(LEFT - 8, y + 4, number(value))
        )
    for value in x_axis.ticks:
        x = _at(x_axis.place(value), 0)[0]
        parts.append(Markup('<path class="grid" d="M{:.1f} {}v4"/>').format(x, bottom))
        anchor = "end" if x > right - 16 else "middle"
        parts.append(
            Markup('<text x="{:.1f}" y="{}" text-anchor="{}">{}</text>').format(
                min(x, right) if anchor == "middle" else right, bottom + 17, anchor, number(value)
            )
        )
    parts.append(Markup('<path class="axis" d="M{} {}H{}"/>').format(LEFT, bottom, right))
    if chart.x_label != "step":
        middle = (LEFT + right) / 2
        parts.append(
            Markup('<text x="{}" y="{}" text-anchor="middle">{}</text>').format(middle, HEIGHT - 3, chart.x_label)
        )
    shown = [series for series in chart.series if not series.faint]
    for series in chart.series:
        index = shown.index(series) if series in shown else 0
        places = [_at(x_axis.place(x), y_axis.place(y)) for x, y in thinned(series.points, x_axis)]
        kind = "faint" if series.faint else "line"
        parts.append(Markup('<g class="{} of{} s{}">{}</g>').format(kind, len(shown), index, _line(places)))
    parts.append(_pointed(chart.series[0].points, x_axis, y_axis, chart.x_label))
    return Markup("").join([*parts, Markup("</svg>")])


def _at(x: float, y: float) -> Place:
    """Return the place in the picture of a place on the axes."""
    return LEFT + x * (WIDTH - LEFT - RIGHT), TOP + (1 - y) * (HEIGHT - TOP - BOTTOM)


def _line(places: list[Place]) -> Markup:
    if len(places) == 1:
        return Markup('<circle cx="{:.1f}" cy="{:.1f}" r="3"/>').format(*places[0])
    return Markup('<path d="M{}"/>').format("L".join(f"{x:.1f} {y:.1f}" for x, y in places))


def _pointed(points: Points, x_axis: Axis, y_axis: Axis, x_label: str) -> Markup:
    """Return columns that say their value, without any script, as long as one points at them."""
    chosen = [
        points[i * (len(points) - 1) // max(1, min(POINTED, len(points)) - 1)] for i in range(min(POINTED, len(points)))
    ]
    places = [_at(x_axis.place(x), y_axis.place(y)) for x, y in chosen]
    edges = [LEFT, *((a[0] + b[0]) / 2 for a, b in pairwise(places)), WIDTH - RIGHT]
    columns = [
        Markup(
            '<g class="point"><rect x="{:.1f}" y="{}" width="{:.1f}" height="{}"/>'
            '<circle cx="{:.1f}" cy="{:.1f}" r="3.5"/><title>{} {}: {}</title></g>'
        ).format(left, TOP, max(right - left, 0.5), HEIGHT - TOP - BOTTOM, cx, cy, x_label, number(x), f"{y:.4g}")
        for left, right, (x, y), (cx, cy) in zip(edges, edges[1:], chosen, places, strict=False)
    ]
    return Markup("").join(columns)
