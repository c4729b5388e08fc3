"""A chart as places on a rectangle: what the page's SVG and the comparison's PNG both draw."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from math import ceil, floor, log10
from statistics import median

from diffkit_report.history import Points

BUCKETS = 300
"""A line keeps the least and the greatest value of each of so many parts of the x axis."""
WIDE = 8.0
"""How many times their median the greatest of positive values must be for a logarithmic axis."""


@dataclass(frozen=True)
class Series:
    """One line of a chart; a faint one lies in the background, and stands in no legend."""

    name: str
    points: Points
    faint: bool = False


@dataclass(frozen=True)
class Chart:
    """Lines over a common x axis."""

    title: str
    series: list[Series]
    x_label: str = "step"


@dataclass(frozen=True)
class Axis:
    """Values between ``low`` and ``high``, and where labels stand."""

    low: float
    high: float
    log: bool = False
    ticks: list[float] = field(default_factory=list)

    def place(self, value: float) -> float:
        """Return where a value is: 0 at the low end, 1 at the high one."""
        if self.log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)


def axes(chart: Chart) -> tuple[Axis, Axis]:
    """Return the axes that a chart needs: x as it comes, and y logarithmic where the values are spread wide."""
    xs = [x for series in chart.series for x, _ in series.points]
    ys = [y for series in chart.series for _, y in series.points]
    low, high = _apart(min(xs), max(xs))
    if 0 < low < 0.2 * high:
        low = 0.0
    return Axis(low, high, ticks=_even(low, high, 5)), _y_axis(ys)


def thinned(points: Points, axis: Axis) -> Points:
    """Return as many points as can be seen: the extremes of each bucket, in the order of x."""
    if len(points) <= 2 * BUCKETS:
        return points
    buckets: dict[int, Points] = {}
    for point in points:
        buckets.setdefault(int(axis.place(point[0]) * BUCKETS), []).append(point)
    kept = []
    for bucket in buckets.values():
        ends = {min(bucket, key=lambda p: p[1]), max(bucket, key=lambda p: p[1])}
        kept += sorted(ends)
    return kept


def smoothed(points: Points) -> Points:
    """Return the centred mean over a twelfth of the points, or over fewer at the ends."""
    sums = [0.0]
    for _, y in points:
        sums.append(sums[-1] + y)
    means = []
    for i, (x, _) in enumerate(points):
        reach = min(len(points) // 24, i, len(points) - 1 - i)
        means.append((x, (sums[i + reach + 1] - sums[i - reach]) / (2 * reach + 1)))
    return means


def over_steps(title: str, points: Points) -> Chart:
    """Return the chart of one logged value: as it is where it is calm or short, faint behind its mean where not."""
    moves = sum(abs(b - a) for (_, a), (_, b) in pairwise(points))
    spread = max(y for _, y in points) - min(y for _, y in points)
    if len(points) < 24 or moves < 3 * spread:
        return Chart(title, [Series(title, points)])
    return Chart(title, [Series(title, points, faint=True), Series(title, smoothed(points))])


def number(value: float) -> str:
    """Return a label for a tick."""
    if value and not 1e-4 <= abs(value) < 1e6:
        mantissa, _, exponent = f"{value:.2e}".partition("e")
        return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"
    return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"


def _y_axis(ys: list[float]) -> Axis:
    low, high = min(ys), max(ys)
    if low > 0 and high / median(ys) >= WIDE:
        return Axis(low / 1.15, high * 1.15, True, list(_decades(low / 1.15, high * 1.15)))
    low, high = _apart(low, high)
    room = (high - low) * 0.06
    bottom = 0.0 if 0 <= low <= high * 0.3 else low - room
    return Axis(bottom, high + room, ticks=_even(bottom, high + room, 5))


def _apart(low: float, high: float) -> tuple[float, float]:
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    room = abs(low) / 2 or 1.0
    return low - room, high + room


def _even(low: float, high: float, about: int) -> list[float]:
    raw = (high - low) / about
    size = 10.0 ** floor(log10(raw))
    step = next(nice * size for nice in (1, 2, 2.5, 5, 10) if nice * size >= raw * 0.999)
    return [
        round(i * step, 12) if abs(step) > 1e-9 else i * step for i in range(ceil(low / step), floor(high / step) + 1)
    ]


def _decades(low: float, high: float) -> Iterable[float]:
    """Return powers of ten, and their doubles and halves where there are few, between two values."""
    first, last = floor(log10(low)), ceil(log10(high))
    every = max(1, (last - first) // 5)
    factors: Sequence[int] = (1, 2, 5) if last - first <= 2 else (1, 3) if last - first <= 3 else (1,)
    for power in range(first, last + 1, every):
        yield from (f * 10.0**power for f in factors if low <= f * 10.0**power <= high)
