"""The grids against their formulas."""

import math

import pytest
import torch
from diffkit_samplers import (
    DDIM,
    BetaGrid,
    ExplicitGrid,
    KarrasGrid,
    LogLinearGrid,
    QuadraticGrid,
    RationalGrid,
    TableGrid,
    UniformAlphaGrid,
    UniformGrid,
)
from diffkit_samplers.grids.beta import quantiles

from diffkit import DataSpec, DiffkitError, build
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

SPEC = DataSpec(1, (4,), std=0.5)
GRIDS = [
    UniformGrid(),
    KarrasGrid(),
    KarrasGrid(rho=3, sigma_min=None, sigma_max=50),
    LogLinearGrid(),
    LogLinearGrid(sigma_min=0.01, sigma_max=100),
    RationalGrid(),
    RationalGrid(c=2, p=0.6, sigma_min=0.002),
    RationalGrid(p=9),
    UniformAlphaGrid(),
    QuadraticGrid(),
    BetaGrid(),
    BetaGrid(a=0.2, b=5),
    *(TableGrid(spacing) for spacing in ("trailing", "leading", "linspace")),
]
BY_NAME = ["uniform", "karras", "loglinear", "rational", "uniform_alpha", "quadratic", "beta", "table"]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)


def ratios(schedule, times):
    return torch.exp(-schedule.lam(times))


@schedules
@pytest.mark.parametrize("grid", GRIDS, ids=lambda g: type(g).__name__)
def test_times_are_strictly_decreasing_within_the_unit_interval_for_up_to_a_thousand_steps(grid, schedule):
    for steps in [*range(1, 60), *range(60, 1000, 47), 999, 1000]:
        times = grid(schedule, steps)
        assert (times.shape, times.dtype) == ((steps,), torch.float64)
        assert (times.diff() < 0).all(), steps
        assert times[-1] >= 0
        assert times[0] <= 1


@pytest.mark.parametrize("name", BY_NAME)
def test_every_grid_is_installed_by_name(name):
    assert len(build("grid", name, spec=SPEC)(SCHEDULES[0], 4)) == 4


def test_uniform_takes_equal_steps_the_last_of_which_ends_at_zero():
    assert UniformGrid()(SCHEDULES[0], 4).tolist() == [1, 0.75, 0.5, 0.25]


def test_quadratic_takes_equal_steps_in_the_root_of_time():
    assert QuadraticGrid()(SCHEDULES[0], 4).tolist() == [1, 0.75**2, 0.5**2, 0.25**2]


@schedules
def test_karras_is_the_papers_formula(schedule):
    n, rho, low, high = 18, 7, 0.002, 80
    i = torch.arange(n, dtype=torch.float64)
    paper = (high ** (1 / rho) + i / (n - 1) * (low ** (1 / rho) - high ** (1 / rho))) ** rho
    times = KarrasGrid()(schedule, n)
    assert torch.allclose(torch.exp(-schedule.lam(times)), paper, rtol=1e-9)


@schedules
def test_grids_between_levels_go_from_end_to_end_of_the_schedule(schedule):
    for grid in (
        KarrasGrid(sigma_min=None, sigma_max=None),
        LogLinearGrid(),
        KarrasGrid(sigma_min=1e-9, sigma_max=1e9),
        RationalGrid(sigma_min=1e-9),
        TableGrid("linspace"),
    ):
        assert grid(schedule, 5)[[0, -1]].tolist() == pytest.approx([1, 0], abs=1e-12)


@schedules
@pytest.mark.parametrize(
    "grid", [g for g in GRIDS if getattr(g, "spacing", "") != "leading"], ids=lambda g: type(g).__name__
)
def test_a_single_step_starts_where_many_do(grid, schedule):
    assert grid(schedule, 1).tolist() == pytest.approx(grid(schedule, 20)[:1].tolist(), abs=1e-12)


@schedules
@pytest.mark.parametrize("ends", [(None, None), (0.01, 100.0)])
def test_loglinear_divides_sigma_over_alpha_by_the_same_factor(schedule, ends):
    times = LogLinearGrid(*ends)(schedule, 20)
    factors = ratios(schedule, times[1:]) / ratios(schedule, times[:-1])
    assert torch.allclose(factors, factors.mean().expand(19), rtol=1e-9)
    if ends[0]:
        assert ratios(schedule, times[[-1, 0]]).tolist() == pytest.approx(ends, rel=1e-9)


@schedules
@pytest.mark.parametrize(("c", "p"), [(0.5, 1.0), (1.0, 0.6), (2.0, 3.0)])
def test_rational_is_uniform_in_its_share_of_noise_down_to_clean_data(schedule, c, p):
    times = RationalGrid(c, p)(schedule, 20)
    s = ratios(schedule, times) ** p
    u = torch.cat((s / (c**p + s), torch.zeros(1)))
    assert torch.allclose(u.diff(), -u[0].expand(20) / 20, rtol=0, atol=1e-10)
    assert times[0] == pytest.approx(1, abs=1e-12)


def test_rational_between_two_levels_is_uniform_from_one_to_the_other():
    schedule, (low, high) = SCHEDULES[0], (0.002, 80.0)
    s = ratios(schedule, RationalGrid(1.0, 0.6, low, high)(schedule, 9))
    u = s**0.6 / (1 + s**0.6)
    assert torch.allclose(u.diff(), u.diff().mean().expand(8), rtol=1e-9)
    assert s[[-1, 0]].tolist() == pytest.approx([low, high], rel=1e-9)


def test_rational_with_c_and_p_of_one_is_uniform_in_the_time_of_rectified_flow():
    schedule, places = SCHEDULES[1], 1 - torch.arange(10, dtype=torch.float64) / 10
    sigma = schedule.sigma(RationalGrid(1.0, 1.0)(schedule, 10))  # α = 1 - σ
    assert torch.allclose(sigma, sigma[0] * places, rtol=0, atol=1e-12)


def test_rational_takes_its_c_from_the_data():
    found = RationalGrid(spec=DataSpec(1, (4,), std=0.8))(SCHEDULES[0], 5)
    assert torch.equal(found, RationalGrid(0.8)(SCHEDULES[0], 5))


@schedules
def test_uniform_alpha_takes_equal_steps_in_the_share_of_data_up_to_clean_data(schedule):
    lam = schedule.lam(UniformAlphaGrid()(schedule, 50))
    share = torch.cat((torch.sigmoid(2 * lam).sqrt(), torch.ones(1)))
    assert torch.allclose(share.diff(), (1 - share[0]).expand(50) / 50, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("a", "b", "closed"),
    [
        (1.0, 1.0, lambda p: p),
        (3.0, 1.0, lambda p: p ** (1 / 3)),
        (0.2, 1.0, lambda p: p**5),
        (1.0, 0.4, lambda p: 1 - (1 - p) ** 2.5),
        (0.5, 0.5, lambda p: torch.sin(torch.pi * p / 2) ** 2),
        (2.0, 2.0, lambda p: 0.5 - torch.sin(torch.asin(1 - 2 * p) / 3)),
        (100.0, 1.0, lambda p: p**0.01),
    ],
)
def test_beta_quantiles_are_the_closed_forms(a, b, closed):
    p = torch.linspace(0.001, 0.999, 999, dtype=torch.float64)
    assert torch.allclose(quantiles(a, b, p), closed(p), rtol=1e-11, atol=1e-13)


def test_beta_of_even_shapes_mirrors_itself():
    times = BetaGrid()(SCHEDULES[0], 20)
    assert torch.allclose(times[1:], 1 - times[1:].flip(0), rtol=0, atol=1e-13)


@pytest.mark.parametrize(
    ("spacing", "timesteps"),
    [
        ("trailing", [999, 899, 799, 699, 599, 499, 399, 299, 199, 99]),
        ("leading", [900, 800, 700, 600, 500, 400, 300, 200, 100, 0]),
        ("linspace", [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]),
    ],
)
def test_table_picks_the_timesteps_of_lin_and_others(spacing, timesteps):
    times = TableGrid(spacing)(SCHEDULES[0], 10)
    assert torch.allclose(times * 999, torch.tensor(timesteps).double(), rtol=0, atol=1e-9)


def test_a_table_gives_only_whole_timesteps_also_where_steps_do_not_divide_it():
    k = TableGrid()(SCHEDULES[0], 7) * 999
    assert torch.allclose(k, k.round(), rtol=0, atol=1e-9)
    assert k.round().tolist() == [999, 856, 713, 570, 428, 285, 142]


@schedules
def test_one_list_is_the_same_grid_as_times_as_ratios_and_as_levels(schedule):
    times = KarrasGrid()(schedule, 6)
    lams = schedule.lam(times)
    for grid in (
        ExplicitGrid(times=times.tolist()),
        ExplicitGrid(sigmas=torch.exp(-lams).tolist()),
        ExplicitGrid(lams=lams.tolist()),
    ):
        assert torch.allclose(grid(schedule, 6), times, rtol=0, atol=1e-12)


def test_a_listed_level_at_the_schedules_end_may_be_rounded():
    grid = ExplicitGrid(sigmas=[2980.9580, 1.0])  # e^8 is 2980.95798…
    assert grid(SCHEDULES[0], 2).tolist() == pytest.approx([1, 0.5], abs=1e-8)


@pytest.mark.parametrize("times", [[1.0, 0.5, 0.5], [0.2, 0.5, 0.9], [1.2, 0.5, 0.1], [1.0, 0.5, -0.1]])
def test_a_solver_refuses_a_grid_that_does_not_decrease_within_the_unit_interval(times):
    class Wrong:
        def __call__(self, schedule, steps):
            return torch.tensor(times, dtype=torch.float64)

    denoiser = MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])
    with pytest.raises(DiffkitError, match=r"Wrong gives 3 times .* choose another grid"):
        DDIM(3)(denoiser, torch.randn(2, 2), grid=Wrong())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: KarrasGrid(rho=0), "rho"),
        (lambda: KarrasGrid(sigma_min=2, sigma_max=1), "sigma_min=2"),
        (lambda: KarrasGrid(sigma_min=-1), "sigma_min=-1"),
        (lambda: LogLinearGrid(sigma_max=math.nan), "sigma_max"),
        (lambda: KarrasGrid(sigma_min=None, sigma_max=1e-6)(SCHEDULES[0], 5), "overlaps"),
        (lambda: KarrasGrid(sigma_max=0.3, spec=SPEC), "sigma_max=0.3 .* below the data's standard deviation 0.5"),
        (lambda: RationalGrid(c=0), "c=0"),
        (lambda: RationalGrid(p=-1), "p=-1"),
        (lambda: BetaGrid(a=0.1), "a=0.1"),
        (lambda: TableGrid("middle"), "trailing, leading or linspace"),
        (lambda: TableGrid(T=1), "T=1"),
        (lambda: TableGrid(T=10)(SCHEDULES[0], 11), "T=10 timesteps .* 11 steps"),
        (lambda: ExplicitGrid(), "0 are given"),
        (lambda: ExplicitGrid(times=[1.0], lams=[0.0]), "2 are given"),
        (lambda: ExplicitGrid(times=[]), "no way from noise to data"),
        (lambda: ExplicitGrid(times=[1, 0.5, 0.5]), "each below the one before"),
        (lambda: ExplicitGrid(lams=[2, 1]), "each above the one before"),
        (lambda: ExplicitGrid(sigmas=[80, 1, 0]), "leave the last one out"),
        (lambda: ExplicitGrid(times=[1, math.nan]), "each below"),
        (lambda: ExplicitGrid(times=[1.5, 0.5])(SCHEDULES[0], 2), "within 0"),
        (lambda: ExplicitGrid(sigmas=[1e6, 1])(SCHEDULES[0], 2), "beyond this schedule"),
        (lambda: ExplicitGrid(sigmas=[80, 1])(SCHEDULES[0], 20), r"sampler\.steps=2"),
        (lambda: ExplicitGrid(sigmas=[0.3, 0.1], spec=SPEC)(SCHEDULES[0], 2), "first of sigmas .* 0.5"),
    ],
)
def test_what_is_no_grid_is_refused_in_a_sentence(make, said):
    with pytest.raises(DiffkitError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)
