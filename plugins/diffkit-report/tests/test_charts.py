"""Charts hold what they are given, on axes that can be read."""

import json
import random

import pytest
from diffkit_report.chart import Chart, Series, axes, number, over_steps, smoothed, thinned
from diffkit_report.history import read_history
from diffkit_report.svg import svg

SHAPES = {
    "one": [(3, 2.0)],
    "flat": [(0, 0.5), (10, 0.5)],
    "zero": [(0, 0.0), (10, 0.0)],
    "falling": [(i, 10.0 ** (2 - i / 5)) for i in range(40)],
    "negative": [(i, -1e3 + i) for i in range(5)],
    "tiny": [(i, 1e-12 * i) for i in range(5)],
    "huge": [(i * 10**9, 1e29 * i) for i in range(5)],
    "close": [(i, 1e6 + 1e-3 * i) for i in range(5)],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_all_points_and_ticks_are_on_the_axes(shape):
    chart = Chart("any", [Series("any", SHAPES[shape])])
    for axis, values in zip(axes(chart), zip(*SHAPES[shape], strict=True), strict=True):
        for value in (*values, *axis.ticks):
            assert -1e-6 <= axis.place(value) <= 1 + 1e-6
        assert 1 <= len(axis.ticks) <= 12
        assert len({number(tick) for tick in axis.ticks}) == len(axis.ticks) or shape == "close"
    assert "nan" not in svg(chart)


def test_an_axis_is_logarithmic_where_most_values_are_far_below_the_greatest():
    chart = {name: axes(Chart(name, [Series(name, SHAPES[name])]))[1].log for name in ("falling", "flat", "negative")}
    assert chart == {"falling": True, "flat": False, "negative": False}
    cosine = [(i, 1e-9 + 1 - i / 100) for i in range(101)]
    assert not axes(Chart("lr", [Series("lr", cosine)]))[1].log, "only its end is near 0"


def test_a_long_line_keeps_its_peaks_and_its_order():
    points = [(float(i), random.Random(i).random()) for i in range(20_000)]
    points[7777] = (7777.0, 9.0)
    kept = thinned(points, axes(Chart("", [Series("", points)]))[0])
    assert len(kept) < 700
    assert (7777.0, 9.0) in kept
    assert kept == sorted(kept)


def test_smoothing_keeps_a_straight_line_and_calms_noise():
    line = [(float(i), 3 - 0.5 * i) for i in range(200)]
    assert [y for _, y in smoothed(line)] == pytest.approx([y for _, y in line])
    noise = [(float(i), random.Random(i).gauss(0, 1)) for i in range(960)]
    middle = [y for _, y in smoothed(noise)[100:-100]]
    assert sum(y * y for y in middle) / len(middle) < 3 / 81, "the mean of 81 has a variance of 1/81"


def test_only_noisy_values_are_smoothed():
    calm = over_steps("lr", [(i, i / 100) for i in range(100)])
    noisy = over_steps("loss", [(i, random.Random(i).random()) for i in range(100)])
    assert [series.faint for series in calm.series] == [False]
    assert [series.faint for series in noisy.series] == [True, False]


def test_of_a_step_that_was_logged_twice_the_later_line_counts(tmp_path):
    lines = [
        {"step": 2, "loss": 5.0},
        {"step": 1, "loss": 1.0, "on": True},
        {"step": 2, "loss": 2.0},
        {"step": 2, "val": 3},
    ]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    history = read_history(tmp_path)
    assert history.values == {"loss": [(1, 1.0), (2, 2.0)], "val": [(2, 3.0)]}
    assert (history.skipped, history.last_step) == (0, 2)
