"""The grids against their formulas."""

import math

import pytest
import torch
from diffkit_samplers import KarrasGrid, LogLinearGrid, UniformGrid

from diffkit import DiffkitError, build
from diffkit.testing.sampler import SCHEDULES

GRIDS = [UniformGrid(), KarrasGrid(), KarrasGrid(rho=3, sigma_min=None, sigma_max=50), LogLinearGrid()]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)


@schedules
@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: type(g).__name__)
@pytest.mark.parametrize("steps", [1, 2, 3, 5, 50, 1000])
def test_times_are_strictly_decreasing_within_the_unit_interval(grid, schedule, steps):
    times = grid(schedule, steps)
    assert (times.shape, times.dtype) == ((steps,), torch.float64)
    assert (times.diff() < 0).all()
    assert times[-1] >= 0
    assert times[0] <= 1


@pytest.mark.parametrize("name", ["uniform", "karras", "loglinear"])
def test_every_grid_is_installed_by_name(name):
    assert len(build("grid", name)(SCHEDULES[0], 4)) == 4


def test_uniform_takes_equal_steps_the_last_of_which_ends_at_zero():
    assert UniformGrid()(SCHEDULES[0], 4).tolist() == [1, 0.75, 0.5, 0.25]


@schedules
def test_karras_is_the_papers_formula(schedule):
    n, rho, low, high = 18, 7, 0.002, 80
    i = torch.arange(n, dtype=torch.float64)
    paper = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    times = KarrasGrid()(schedule, n)
    assert torch.allclose(torch.exp(-schedule.lam(times)), paper, rtol=1e-9)


@schedules
def test_karras_and_loglinear_go_from_end_to_end_of_the_schedule(schedule):
    for grid in (
        KarrasGrid(sigma_min=None, sigma_max=None),
        LogLinearGrid(),
        KarrasGrid(sigma_min=1e-9, sigma_max=1e9),
    ):
        assert grid(schedule, 5)[[0, -1]].tolist() == pytest.approx([1, 0], abs=1e-12)


@schedules
def test_loglinear_divides_sigma_over_alpha_by_the_same_factor(schedule):
    steps = schedule.lam(LogLinearGrid()(schedule, 20)).diff()
    assert torch.allclose(steps, steps.mean().expand(19), atol=1e-9)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: KarrasGrid(rho=0), "rho"),
        (lambda: KarrasGrid(sigma_min=2, sigma_max=1), "sigma_min=2"),
        (lambda: KarrasGrid(sigma_min=-1), "sigma_min=-1"),
        (lambda: KarrasGrid(sigma_max=math.nan), "sigma_max"),
        (lambda: KarrasGrid(sigma_min=None, sigma_max=1e-6)(SCHEDULES[0], 5), "overlaps"),
    ],
)
def test_options_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()
