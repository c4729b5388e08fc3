"""The quantile functions of the time distributions, and what follows from them: densities, equal losses, the ELBO."""

import math

import pytest
import torch
from diffkit_objectives import (
    ELBOWeighting,
    LaplaceTimes,
    LogitNormalTimes,
    LogNormalTimes,
    ModeTimes,
    StratifiedTimes,
    UniformLamTimes,
    UniformTimes,
)
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.contracts.schedule import derivatives
from diffkit.testing.sampler import SCHEDULES

INVERTED = [UniformTimes(), UniformLamTimes(), ModeTimes(), LaplaceTimes(), LogitNormalTimes(), LogNormalTimes()]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
inverted = pytest.mark.parametrize("times", INVERTED, ids=lambda value: type(value).__name__)


class Bent:
    """A variance-preserving schedule whose λ is not linear in t: α² = 1 - t, with a little cut off both ends."""

    def lam(self, t):
        return -(1e-3 + t * (1 - 2e-3)).logit() / 2

    def time(self, lam):
        return ((-2 * lam).sigmoid() - 1e-3) / (1 - 2e-3)

    def alpha(self, t):
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def sigma(self, t):
        return torch.sigmoid(-2 * self.lam(t)).sqrt()


class Shrinks(nn.Module):
    """Predicts a share of its input, whatever the level."""

    def forward(self, x, lam):
        return 0.3 * x


class Optimal(nn.Module):
    """Predicts E[x_0 | x_t] for normal data of standard deviation ``std``, from the scaled x_t / √(α² std² + σ²)."""

    def __init__(self, std):
        super().__init__()
        self.std = std

    def forward(self, x, lam):
        signal = (self.std * lam.exp())[:, None]
        return self.std * signal / (1 + signal**2).sqrt() * x


def expected_losses(denoiser, t, std):
    """Return E[loss | t], exactly where the network is linear: x_0 = ±std and ε = ±1 have the second moments."""
    corners = [(a * std, b) for a in (-1, 1) for b in (-1, 1)]
    one = torch.ones(len(t), 1, dtype=torch.float64)
    return sum(denoiser.losses(a * one, t=t, noise=b * one) for a, b in corners) / 4


def expected_loss(denoiser, times, std=1.0, n=200_000):
    """Return E[loss] over times of a distribution, by the midpoint rule in u."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return expected_losses(denoiser, times.quantile(u, denoiser.schedule), std).mean().item()


@inverted
def test_quantiles_rise_from_one_end_of_time_to_the_other(times):
    for schedule in (*SCHEDULES, Bent()):
        t = times.quantile(torch.linspace(0, 1, 1001, dtype=torch.float64), schedule)
        assert (t.diff() >= 0).all()
        assert t[0] == pytest.approx(0, abs=1e-12)
        assert t[-1] == pytest.approx(1, abs=1e-12)


@inverted
def test_draws_lie_below_a_quantile_as_often_as_it_says(times):
    n = 20_000
    for schedule in (SCHEDULES[1], Bent()):
        t = times(n, schedule, torch.Generator().manual_seed(3)).sort().values
        u = torch.linspace(0.02, 0.98, 49, dtype=torch.float64)
        below, up_to = (torch.searchsorted(t, times.quantile(u, schedule), right=right) / n for right in (False, True))
        assert (below - u).max() < 1.95 / n**0.5
        assert (u - up_to).max() < 1.95 / n**0.5


def density(times, schedule, u):
    """Return p(λ) at the quantiles of ``u``, and λ there: du/dλ by finite differences."""
    step = 1e-6
    low, high = (schedule.lam(times.quantile(u + s, schedule)) for s in (-step, step))
    return 2 * step / (low - high), schedule.lam(times.quantile(u, schedule))


def test_uniform_lam_has_one_density_over_all_levels():
    p, _ = density(UniformLamTimes(), Bent(), torch.linspace(0.01, 0.99, 50, dtype=torch.float64))
    first, last = Bent().lam(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    torch.testing.assert_close(p, torch.full_like(p, 1 / (first - last)), rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    "options", [{}, {"mean": 1.0, "scale": 2.0}, {"mean": -20.0}, {"mean": 3.4, "scale": 0.5}], ids=str
)
def test_laplace_times_fall_off_at_both_sides_of_their_mean_and_are_cut_off_at_the_ends(options):
    schedule, u = Bent(), torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    mean, scale = options.get("mean", 0.0), options.get("scale", 0.25)
    p, lam = density(LaplaceTimes(**options), schedule, u)
    levels = torch.linspace(*schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist(), 200_001)
    shape = torch.exp(-((levels.double() - mean).abs() - (lam - mean).abs().min()) / scale)
    total = torch.trapezoid(shape, levels.double())
    expected = torch.exp(-((lam - mean).abs() - (lam - mean).abs().min()) / scale) / total
    smooth = (lam - mean).abs() > 1e-3
    torch.testing.assert_close(p[smooth], expected[smooth], rtol=2e-4, atol=0)


def test_laplace_times_follow_the_scale_of_the_data():
    u = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)
    spec = DataSpec(channels=1, shape=(1,), std=0.5)
    moved = (SCHEDULES[0].lam(LaplaceTimes(spec=s).quantile(u, SCHEDULES[0])) for s in (spec, None))
    torch.testing.assert_close(next(moved) - math.log(2), next(moved))


@pytest.mark.parametrize("scale", [-1.0, -0.5, 0.0, 1.29, 1.75])
def test_mode_times_are_the_papers(scale):
    v = torch.linspace(1, 0, 101, dtype=torch.float64)
    t = ModeTimes(scale).quantile(1 - v, SCHEDULES[0])
    torch.testing.assert_close(t, 1 - v - scale * (torch.cos(torch.pi / 2 * v) ** 2 - 1 + v))
    assert (t.diff() > 0).all()


def test_mode_times_prefer_the_middle_above_0_and_the_ends_below():
    middle = [
        ((t := ModeTimes(s).quantile(torch.linspace(0, 1, 1001), SCHEDULES[0])) - 0.5).abs().lt(0.25).double().mean()
        for s in (-0.9, 0.0, 1.5)
    ]
    assert middle[0] < middle[1] - 0.05 < middle[2] - 0.1
    assert t.shape == (1001,)


@pytest.mark.parametrize("base", ["laplace", "lognormal", "mode"])
def test_stratified_times_have_one_in_each_nth_of_any_distribution(base):
    n = 64
    t = build("times", "stratified", base=base)(n, SCHEDULES[1], torch.Generator().manual_seed(1)).sort().values
    edges = build("times", base).quantile(torch.arange(n + 1, dtype=torch.float64) / n, SCHEDULES[1])
    assert (edges[:-1] <= t).all()
    assert (t <= edges[1:]).all()


@schedules
@pytest.mark.parametrize("prediction", ["eps", "edm"])
def test_a_weighting_and_a_distribution_equal_their_importance_weighed_pair(prediction, schedule):
    """w under p of λ is w p/q under q: here p is normal, Laplace's or uniform in t, and q uniform in λ."""
    std = 0.7
    first, last = schedule.lam(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()

    def weight(lam):
        return 1 / (1 + torch.exp(-2 * lam))

    def normal(lam):
        return torch.exp(-((lam - 1.2) ** 2) / (2 * 1.2**2)) / (1.2 * math.sqrt(2 * torch.pi))

    def laplace(lam):
        return torch.exp(-(lam - 0.5).abs() / 0.8) / (
            1.6 - 0.8 * (math.exp((last - 0.5) / 0.8) + math.exp((0.5 - first) / 0.8))
        )

    def uniform(lam):
        return torch.full_like(lam, 1 / 16)

    pairs = [(LogNormalTimes(), normal), (LaplaceTimes(0.5, 0.8), laplace), (UniformTimes(), uniform)]
    for times, p in pairs:
        plain, other = (
            Denoiser(Shrinks(), schedule, prediction, weighting=w, spec=DataSpec(1, (), std=std))
            for w in (weight, lambda lam, p=p: weight(lam) * p(lam) * (first - last))
        )
        assert expected_loss(plain, times, std) == pytest.approx(expected_loss(other, UniformLamTimes(), std), rel=2e-5)


@pytest.mark.parametrize("std", [0.5, 2.0])
@pytest.mark.parametrize("schedule", [*SCHEDULES, Bent()], ids=lambda s: getattr(s, "name", "bent"))
def test_the_elbo_of_normal_data_is_its_closed_form_however_times_are_drawn(schedule, std):
    """∫ SNR s² / (1 + s² SNR) dλ = ½ log (1 + s² SNR(0)) / (1 + s² SNR(1)), in nats per value."""
    first, last = schedule.lam(torch.tensor([0.0, 1.0], dtype=torch.float64)).tolist()
    exact = math.log((1 + std**2 * math.exp(2 * first)) / (1 + std**2 * math.exp(2 * last))) / 2

    def bound(weighting, times):
        spec = DataSpec(1, (), std=std)
        return expected_loss(Denoiser(Optimal(std), schedule, "x0", weighting=weighting, spec=spec), times, std)

    assert (first - last) * bound(ELBOWeighting(), UniformLamTimes()) == pytest.approx(exact, rel=1e-6)
    assert bound(ELBOWeighting(schedule), UniformTimes()) == pytest.approx(exact, rel=1e-3)


def test_the_elbo_of_uniform_times_is_half_the_slope_of_the_snr():
    schedule, t = Bent(), torch.linspace(0.1, 0.9, 9, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    d_alpha, d_sigma = derivatives(schedule, t)
    slope = 2 * alpha / sigma**2 * d_alpha - 2 * alpha**2 / sigma**3 * d_sigma
    torch.testing.assert_close(ELBOWeighting(schedule)(schedule.lam(t)), -slope / 2)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: ModeTimes(scale=2.0), "from -1 to 1.75"),
        (lambda: ModeTimes(scale=-1.1), "from -1 to 1.75"),
        (lambda: LaplaceTimes(scale=0.0), "scale=0.0"),
        (lambda: StratifiedTimes(base="stratified"), "base=stratified has no quantile function"),
        (lambda: StratifiedTimes(base="unform"), "times 'unform' is not installed"),
        (lambda: ELBOWeighting(schedule="csine"), "schedule 'csine' is not installed"),
    ],
)
def test_what_cannot_be_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()
