"""What all schedules promise, and the first four against their papers' formulas."""

import math

import pytest
import torch
from diffkit_schedules import (
    EDM,
    VE,
    VP,
    Cauchy,
    Clipped,
    Cosine,
    Flow,
    Laplace,
    Learned,
    Linear,
    LinearTable,
    ScaledLinear,
    ScaledLinearTable,
    Shifted,
    Sigmoid,
    Tabulated,
    ZeroSNR,
)

from diffkit import DiffkitError, build, catalog, derivatives
from diffkit.testing import check_schedule

T = torch.linspace(0, 1, 501, dtype=torch.float64)
ALL = [
    Linear(),
    Linear(beta_1=0.001, beta_T=0.001, T=5000),
    Linear(beta_1=0.05, beta_T=0.5, T=20),
    Cosine(),
    Cosine(lam_min=-3, lam_max=15),
    Flow(),
    Flow(lam_min=-20, lam_max=4),
    EDM(),
    EDM(sigma_min=0.01, sigma_max=500, rho=1),
    Flow(shift=3),
    Flow(lam_min=-4, lam_max=12, shift=0.2),
    ScaledLinear(),
    ScaledLinear(beta_1=0.002, beta_T=0.002),
    ScaledLinear(beta_1=0.01, beta_T=0.6, T=15),
    LinearTable(),
    LinearTable(beta_1=0.05, beta_T=0.5, T=20),
    ScaledLinearTable(),
    VP(),
    VP(beta_min=0.5, beta_max=3, t_min=1e-3),
    VE(),
    VE(sigma_min=1e-3, sigma_max=348),
    Sigmoid(),
    Sigmoid(start=0, end=3, tau=0.3),
    Sigmoid(start=-3, end=1, tau=1.5, lam_min=-5, lam_max=14),
    Sigmoid(start=-100, end=100),
    Laplace(),
    Laplace(mean=-1, scale=2, lam_min=-7, lam_max=14),
    Cauchy(),
    Cauchy(mean=1.5, scale=0.2, lam_min=-12, lam_max=8),
    Tabulated(betas=[0.01, 0.02, 0.05, 0.1, 0.3, 0.6]),
    Tabulated(alphas=[1, 0.9, 0.6, 0.1], sigmas=[0.02, 0.1, 0.4, 0.9]),
    Tabulated(alphas=[1, 1], sigmas=[0.1, 30]),
    Learned(),
    Learned(lam_min=-6, lam_max=6, width=3),
    Shifted(),
    Shifted("edm", 4),
    Shifted(Flow(), 0.5),
    Clipped(),
    Clipped("edm", lam_min=-3, lam_max=30),
    Clipped("learned", lam_min=-1, lam_max=2),
    ZeroSNR(),
    ZeroSNR("flow", lam_min=-15),
    ZeroSNR("linear_table"),
]
NEEDED = {"tabulated": {"betas": [0.1, 0.2, 0.4]}}


def name(schedule):
    shown = {k: v if isinstance(v, int | float) else type(v).__name__ for k, v in vars(schedule).items() if k[0] != "_"}
    return f"{type(schedule).__name__}({', '.join(f'{k}={v}' for k, v in shown.items())})"


@pytest.mark.parametrize("schedule", ALL, ids=name)
def test_every_schedule_passes_the_kit(schedule):
    check_schedule(schedule)


@pytest.mark.parametrize("choice", [e.name for e in catalog.entries("schedule") if e.package == "diffkit-schedules"])
def test_every_schedule_is_installed_by_name(choice):
    check_schedule(build("schedule", choice, **NEEDED.get(choice, {})))


def test_every_class_of_the_package_is_among_those_that_are_checked():
    import diffkit_schedules

    assert {type(schedule).__name__ for schedule in ALL} == set(diffkit_schedules.__all__)


@pytest.mark.parametrize("schedule", ALL, ids=name)
def test_times_are_found_again_anywhere_and_their_slope_is_that_of_the_levels(schedule):
    t = torch.rand(2000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    lam = schedule.lam(t)
    (slope,) = torch.autograd.grad(lam.sum(), t)
    level = lam.detach().requires_grad_()
    found = schedule.time(level)
    assert (found - t).abs().max() < 1e-10
    assert torch.allclose(torch.autograd.grad(found.sum(), level)[0] * slope, torch.ones_like(t), rtol=1e-5, atol=0)


@pytest.mark.parametrize("schedule", ALL, ids=name)
def test_times_tell_levels_apart_at_both_ends(schedule):
    noisy, clean = schedule.lam(T[[-1, 0]]).tolist()
    lam = torch.cat((noisy + 0.1 * T, clean - 0.1 * T))
    assert (schedule.lam(schedule.time(lam)) - lam).abs().max() < 1e-6


@pytest.mark.parametrize("schedule", ALL, ids=name)
def test_times_of_levels_beyond_the_ends_are_the_ends(schedule):
    lam = schedule.lam(T)
    ends = schedule.time(torch.stack((lam[0] + 30, lam[-1] - 30))).tolist()
    assert ends == pytest.approx([0, 1], abs=1e-14)


@pytest.mark.parametrize("schedule", [s for s in ALL if not isinstance(s, Cauchy | Clipped | ZeroSNR)], ids=name)
def test_single_precision_keeps_six_digits_at_both_ends(schedule):
    t = torch.cat((T[:3], T[-3:]))
    for method in (schedule.alpha, schedule.sigma):
        assert torch.allclose(method(t.float()).double(), method(t.float().double()), rtol=3e-6, atol=0)


@pytest.mark.parametrize("schedule", [Linear(), Cosine()], ids=name)
def test_linear_and_cosine_preserve_variance(schedule):
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=1e-14)


def test_linear_starts_at_the_first_entry_of_the_table():
    assert Linear().sigma(T[:1]).item() ** 2 == pytest.approx(1e-4, rel=1e-12)
    assert Linear(beta_1=0.02, beta_T=0.3, T=30).sigma(T[:1]).item() ** 2 == pytest.approx(0.02, rel=1e-12)


def test_linear_loses_signal_at_the_rate_beta():
    """d log α² = -β dt with β linear, from T β_1 to T β_T over the whole table, of which t=0 is not quite the start."""
    schedule = Linear()
    rate = -2 * derivatives(schedule, T)[0] / schedule.alpha(T)
    assert torch.allclose(rate.diff(n=2), torch.zeros(499, dtype=torch.float64), atol=1e-11)
    dt = (rate[-1] - rate[0]) / (1000 * (0.02 - 1e-4))  # how much of the table lies in [0, 1], to the second power
    assert rate[-1] == pytest.approx(1000 * 0.02 * dt.sqrt().item(), rel=1e-9)


def test_linear_is_the_limit_of_ddpms_table():
    """With steps of half the length, and as many more, the table comes closer by half."""
    gaps = []
    for finer in (1, 2, 4):
        schedule = Linear(1e-4 / finer, 0.02 / finer, 1000 * finer)
        beta = torch.linspace(1e-4, 0.02, 1000 * finer, dtype=torch.float64) / finer
        table = torch.cumprod(1 - beta, 0)
        # the lam of the table's end, and how far it is from the schedule's
        gaps.append((schedule.alpha(T[-1:]) ** 2).log().item() - table[-1].log().item())
    assert gaps[0] == pytest.approx(2 * gaps[1], rel=0.02)
    assert gaps[1] == pytest.approx(2 * gaps[2], rel=0.02)


def test_cosine_turns_at_an_even_pace_between_its_ends():
    schedule = Cosine(lam_min=-7, lam_max=9)
    angle = torch.atan2(schedule.sigma(T), schedule.alpha(T))
    expected = torch.linspace(math.atan(math.exp(-9)), math.atan(math.exp(7)), 501, dtype=torch.float64)
    assert torch.allclose(angle, expected, rtol=0, atol=1e-14)


def test_flow_is_a_straight_line_between_its_ends():
    schedule = Flow(lam_min=-7, lam_max=9)
    assert torch.allclose(schedule.alpha(T) + schedule.sigma(T), torch.ones_like(T), rtol=0, atol=1e-15)
    expected = torch.linspace(1 / (1 + math.exp(9)), 1 / (1 + math.exp(-7)), 501, dtype=torch.float64)
    assert torch.allclose(schedule.sigma(T), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("schedule", [Cosine(-7, 9), Flow(-7, 9)], ids=name)
def test_cosine_and_flow_end_where_they_are_told_to(schedule):
    assert schedule.lam(T[[0, -1]]).tolist() == pytest.approx([9, -7], abs=1e-12)


def test_edm_in_uniform_steps_visits_the_levels_of_the_paper():
    n, rho = 18, 7
    i = torch.arange(n, dtype=torch.float64)
    paper = (80 ** (1 / rho) + i / (n - 1) * (0.002 ** (1 / rho) - 80 ** (1 / rho))) ** rho
    assert torch.allclose(EDM().sigma(1 - i / (n - 1)), paper, rtol=1e-12)
    assert EDM().alpha(T).eq(1).all()


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: Linear(beta_1=0), "beta_1"),
        (lambda: Linear(beta_1=0.03), "beta_T"),
        (lambda: Linear(beta_T=1), "beta_T"),
        (lambda: Linear(T=1), "T=1"),
        (lambda: Linear(beta_1=0.9, beta_T=0.9, T=2), "larger T"),
        (lambda: Cosine(lam_min=3, lam_max=3), "lam_min"),
        (lambda: Cosine(lam_max=math.inf), "lam_max"),
        (lambda: Flow(lam_min=-1000), "lam_min"),
        (lambda: Flow(lam_max=math.nan), "lam_max"),
        (lambda: EDM(sigma_min=0), "sigma_min"),
        (lambda: EDM(sigma_max=0.001), "sigma_max"),
        (lambda: EDM(rho=0), "rho"),
    ],
)
def test_options_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()
