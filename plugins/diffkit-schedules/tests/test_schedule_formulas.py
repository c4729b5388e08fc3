"""Schedules given by a formula, against that of their papers."""

import math

import pytest
import torch
from diffkit_schedules import VE, VP, Cauchy, Cosine, Flow, Laplace, Linear, ScaledLinear, Sigmoid

from diffkit import DiffkitError, derivatives

T = torch.linspace(0, 1, 501, dtype=torch.float64)


def rate(schedule):
    """Return β = -d log α² / dt."""
    return -2 * derivatives(schedule, T)[0] / schedule.alpha(T)


def level_distribution(schedule):
    """Return λ, and how much of the time is spent at a unit of it: 1 / -λ'."""
    t = T.clone().requires_grad_()
    lam = schedule.lam(t)
    return lam.detach(), -1 / torch.autograd.grad(lam.sum(), t)[0]


@pytest.mark.parametrize(
    "schedule", [ScaledLinear(), ScaledLinear(0.01, 0.6, 15), VP(), Sigmoid(), Laplace(), Cauchy()]
)
def test_variance_is_preserved(schedule):
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=1e-14)


def test_scaled_linear_loses_signal_at_a_rate_whose_root_is_linear():
    schedule = ScaledLinear()
    root = rate(schedule).sqrt()
    assert torch.allclose(root.diff(n=2), torch.zeros(499, dtype=torch.float64), atol=1e-11)
    share = ((root[-1] - root[0]) / (1000**0.5 * (0.012**0.5 - 0.00085**0.5))) ** (2 / 3)  # of the table in [0, 1]
    assert (root[-1] ** 2).item() == pytest.approx(1000 * 0.012 * share.item(), rel=1e-9)
    assert schedule.sigma(T[:1]).item() ** 2 == pytest.approx(0.00085, rel=1e-12)


def test_scaled_linear_of_equal_ends_is_linear():
    one, other = ScaledLinear(0.002, 0.002), Linear(0.002, 0.002)
    assert torch.allclose(one.lam(T), other.lam(T), rtol=0, atol=1e-12)


def test_vp_is_linear_that_begins_earlier():
    """They are one curve: at equal times of the SDE, levels are the same."""
    vp, linear = VP(beta_min=0.1, beta_max=20, t_min=1e-5), Linear(beta_1=1e-4, beta_T=0.02, T=1000)
    lam = linear.lam(T)
    places = 1e-5 + (1 - 1e-5) * vp.time(lam)
    assert torch.allclose(places.diff(n=2), torch.zeros(499, dtype=torch.float64), atol=1e-13)
    assert vp.lam(T[-1:]).item() == pytest.approx(lam[-1].item(), abs=1e-12)
    assert vp.lam(T[:1]).item() > lam[0].item() + 2


def test_vp_starts_at_t_min_of_the_sde():
    log_power = 0.5 * 1e-3 + (3 - 0.5) * 1e-6 / 2
    assert VP(0.5, 3, 1e-3).alpha(T[:1]).item() ** 2 == pytest.approx(math.exp(-log_power), rel=1e-15)


def test_ve_multiplies_the_noise_by_one_factor_a_step():
    schedule = VE(sigma_min=0.01, sigma_max=50)
    assert torch.allclose(schedule.sigma(T), 0.01 * (50 / 0.01) ** T, rtol=1e-13)
    assert schedule.alpha(T).eq(1).all()


@pytest.mark.parametrize(("start", "end", "tau"), [(-3, 3, 1), (0, 3, 0.3), (-3, 3, 0.7)])
def test_sigmoid_is_the_papers_between_its_ends(start, end, tau):
    schedule = Sigmoid(start, end, tau)
    low, high = (1 / (1 + math.exp(-x / tau)) for x in (start, end))
    # α² as the paper writes it, of the time u; the ends of λ cut off less than 1e-5 of it
    u = torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    power = (high - torch.sigmoid((start + u * (end - start)) / tau)) / (high - low)
    found = schedule.time((power / (1 - power)).log() / 2)
    assert torch.allclose(found.diff(n=2), torch.zeros(97, dtype=torch.float64), atol=1e-12)
    assert torch.allclose(found, u, rtol=0, atol=1e-5)


def test_sigmoid_is_symmetric_where_its_ends_are():
    assert torch.allclose(Sigmoid().lam(T), -Sigmoid().lam(1 - T), rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    "schedule", [Sigmoid(lam_min=-7, lam_max=9), Flow(-7, 9, shift=3), Cauchy(lam_min=-7, lam_max=9)]
)
def test_levels_end_where_they_are_told_to(schedule):
    assert schedule.lam(T[[0, -1]]).tolist() == pytest.approx([9, -7], abs=1e-7)


def test_a_shifted_flow_is_stable_diffusions():
    """σ = k σ' / (1 + (k-1) σ') of the same line without a shift, where the ends of λ are as far off."""
    k = 3.0
    plain = Flow(-10 + math.log(k), 10 + math.log(k)).sigma(T)
    shifted = Flow(shift=k)
    assert torch.allclose(shifted.sigma(T), k * plain / (1 + (k - 1) * plain), rtol=1e-12, atol=0)
    assert torch.allclose(shifted.alpha(T) + shifted.sigma(T), torch.ones_like(T), rtol=0, atol=1e-15)


def test_the_shift_of_flow_lowers_its_levels_by_its_log():
    lam = torch.linspace(-8, 8, 50, dtype=torch.float64)
    one, other = Flow(-20, 20, shift=4), Flow(-20 + math.log(4), 20 + math.log(4))
    assert torch.allclose(one.time(lam), other.time(lam + math.log(4)), rtol=0, atol=1e-14)


def test_levels_of_laplace_are_laplace_distributed():
    lam, spent = level_distribution(Laplace(mean=0.5, scale=0.4, lam_min=-4, lam_max=3))
    density = torch.exp(-(lam - 0.5).abs() / 0.4) / 0.8
    whole = 1 - math.exp(-2.5 / 0.4) / 2 - math.exp(-4.5 / 0.4) / 2
    assert torch.allclose(spent, density / whole, rtol=1e-9)


def test_levels_of_cauchy_are_cauchy_distributed():
    lam, spent = level_distribution(Cauchy(mean=0.5, scale=0.4, lam_min=-4, lam_max=3))
    density = 0.4 / (math.pi * ((lam - 0.5) ** 2 + 0.4**2))
    whole = (math.atan(2.5 / 0.4) + math.atan(4.5 / 0.4)) / math.pi
    assert torch.allclose(spent, density / whole, rtol=1e-9)


def test_levels_of_cosine_are_sech_distributed_as_the_paper_of_laplace_says():
    """The three are one family: p(λ) = sech(λ)/π is what cosine spends at λ."""
    lam, spent = level_distribution(Cosine(-15, 15))
    assert torch.allclose(spent, 1 / (math.pi * torch.cosh(lam)), rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: ScaledLinear(beta_1=0.1), "beta_T=0.012"),
        (lambda: ScaledLinear(T=1), "T=1"),
        (lambda: VP(beta_min=0), "beta_min=0"),
        (lambda: VP(beta_max=math.inf), "beta_max=inf"),
        (lambda: VP(t_min=0), "t_min=0"),
        (lambda: VE(sigma_max=0), "sigma_max=0"),
        (lambda: Sigmoid(start=3), "start=3"),
        (lambda: Sigmoid(tau=0), "tau=0"),
        (lambda: Sigmoid(tau=0.001), "tau=0.001"),
        (lambda: Sigmoid(end=math.nan), "end=nan"),
        (lambda: Sigmoid(lam_min=1e3), "lam_min"),
        (lambda: Flow(shift=0), "shift=0"),
        (lambda: Flow(shift=math.nan), "shift=nan"),
        (lambda: Laplace(mean=7), "mean=7"),
        (lambda: Laplace(scale=0.01), "scale=0.01"),
        (lambda: Laplace(scale=-1), "scale=-1"),
        (lambda: Cauchy(mean=-11), "mean=-11"),
        (lambda: Cauchy(scale=0), "scale=0"),
    ],
)
def test_options_of_formulas_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()
