"""Solvers that choose their steps: the order of their pairs, their tolerance, and how they give up."""

import math

import pytest
import torch
from diffkit_samplers import RK4, Bosh3, Dopri5, KarrasGrid
from diffkit_samplers.runge_kutta import bounded, explicit
from diffkit_samplers.staged import Staged

from diffkit import DiffkitError, build, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

MIXTURE = GaussianMixture.soft3()
PAIRS = {"bosh3": (Bosh3, 3), "dopri5": (Dopri5, 5)}


def path(schedule, steps, first=-5, last=1):
    lam = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return levels(schedule, schedule.time(lam), like=lam)[:-1]


def start(n=16):
    generator = torch.Generator().manual_seed(0)
    return MIXTURE.sample(n, generator) + math.exp(5) * torch.randn(n, 2, generator=generator, dtype=torch.float64)


@pytest.fixture(scope="module")
def end():
    nodes = path(SCHEDULES[2], 300)
    return RK4().integrate(MixtureDenoiser(MIXTURE, SCHEDULES[2]), start(), nodes)


def walked(sampler, schedule, steps):
    """Return where a solver arrives, in z = x/α."""
    nodes = path(schedule, steps)
    x = sampler.integrate(MixtureDenoiser(MIXTURE, schedule), nodes[0].alpha * start(), nodes)
    return x / nodes[-1].alpha


def error(sampler, schedule, steps, end):
    return (walked(sampler, schedule, steps) - end).norm(dim=1).mean().item()


@pytest.mark.parametrize("name", PAIRS)
def test_the_pairs_have_their_orders_in_steps_of_given_length(name):
    pair, order = PAIRS[name]

    class Higher(Staged):
        def stages(self, s, s_then):
            return explicit(pair.tableau, s, s_then)

    coarse, middle, fine = (walked(Higher(), SCHEDULES[1], n) for n in (40, 80, 160))
    gaps = [(a - b).norm(dim=1).mean().item() for a, b in ((coarse, middle), (middle, fine))]
    assert math.log2(gaps[0] / gaps[1]) == pytest.approx(order, abs=0.25)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("option", ["rtol", "atol"])
def test_either_tolerance_alone_saves_evaluations(name, option):
    """What it allows is added to what the other does, which is next to nothing here."""
    pair, _ = PAIRS[name]

    def evaluations(**tolerance):
        denoiser = MixtureDenoiser(MIXTURE, SCHEDULES[1])
        nodes = path(SCHEDULES[1], 20)
        pair(**{"rtol": 1e-7, "atol": 1e-7, **tolerance}).integrate(denoiser, nodes[0].alpha * start(), nodes)
        return denoiser.evaluations

    assert 2 * evaluations(**{option: 1e-3}) < evaluations()


@pytest.mark.parametrize("name", PAIRS)
def test_the_error_estimate_falls_with_the_power_that_the_control_of_steps_supposes(name):
    pair, _ = PAIRS[name]

    def estimate(length, y=0.7):
        """Return the error of one step from s=1 by one number y, where D is the cosine of 3y."""
        *stages, (_, error) = bounded((*pair.tableau, pair.embedded), 1.0, (0.5 + length) / (0.5 - length))
        estimates = [math.cos(3 * y)]
        for place, weights in stages:
            there = place / (1 + place) / 0.5 * y + sum(w * d for w, d in zip(weights, estimates, strict=True))
            estimates.append(math.cos(3 * there))
        return abs(sum(w * d for w, d in zip(error, estimates, strict=True)))

    assert math.log2(estimate(0.004) / estimate(0.002)) == pytest.approx(pair.order, abs=0.25)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
def test_the_error_goes_with_the_tolerance(name, schedule, end):
    errors = {tol: error(PAIRS[name][0](rtol=tol, atol=tol), schedule, 3, end) for tol in (1e-3, 1e-5, 1e-7)}
    assert all(found < 10 * tol for tol, found in errors.items()), errors
    assert errors[1e-3] > 10 * errors[1e-5] > 100 * errors[1e-7]


@pytest.mark.parametrize("name", PAIRS)
def test_the_first_trial_does_not_matter_to_the_error(name, end):
    for steps in (1, 10, 1000):
        solver = PAIRS[name][0](steps, rtol=1e-6, atol=1e-6, max_evaluations=5000)
        assert error(solver, SCHEDULES[0], 1, end) < 1e-5


@pytest.mark.parametrize("name", PAIRS)
def test_the_way_there_and_back_returns_to_the_tolerance(name):
    nodes = path(SCHEDULES[0], 4, -3, 4)
    x = nodes[-1].alpha * MIXTURE.sample(16, torch.Generator().manual_seed(0))
    solver, denoiser = (
        PAIRS[name][0](rtol=1e-7, atol=1e-7, max_evaluations=10_000),
        MixtureDenoiser(MIXTURE, SCHEDULES[0]),
    )
    back = solver.integrate(denoiser, solver.integrate(denoiser, x, nodes[::-1]), nodes)
    assert (back - x).abs().max() < 1e-4


@pytest.mark.parametrize("name", PAIRS)
def test_a_sample_depends_on_its_batch_by_no_more_than_the_stated_tolerance(name):
    solver, denoiser = build("sampler", name), MixtureDenoiser(MIXTURE, SCHEDULES[1])
    noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    together = solver(denoiser, noise, grid=KarrasGrid())
    alone = torch.cat([solver(denoiser, noise[i : i + 1], grid=KarrasGrid()) for i in range(0, 64, 4)])
    assert 0 < (together[::4] - alone).abs().max() < solver.tolerance


@pytest.mark.parametrize("name", PAIRS)
def test_a_tolerance_that_is_not_reached_is_said_in_a_sentence_and_the_cap_is_kept(name):
    denoiser = MixtureDenoiser(MIXTURE, SCHEDULES[0])
    with pytest.raises(DiffkitError, match=r"rtol=1e-12 .* max_evaluations=50: .* give more evaluations or a larger"):
        build("sampler", name, rtol=1e-12, atol=1e-12, max_evaluations=50)(denoiser, torch.randn(2, 2).double())
    assert denoiser.evaluations <= 50


def test_samples_that_are_not_numbers_end_at_the_cap():
    with pytest.raises(DiffkitError, match="max_evaluations=100"):
        Bosh3(max_evaluations=100)(MixtureDenoiser(MIXTURE, SCHEDULES[0]), torch.full((1, 2), torch.nan))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"rtol": 0.0}, "rtol=0"), ({"atol": -1.0}, "atol=-1"), ({"max_evaluations": 3}, "not enough for one step")],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(DiffkitError, match=message):
        Bosh3(**options)


@pytest.mark.parametrize("name", PAIRS)
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_without_a_grid_the_tolerance_decides_how_far_off_it_ends_and_not_the_first_step(name, schedule):
    noise = torch.randn(50, 2, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    denoiser = MixtureDenoiser(MIXTURE, schedule)
    exact = build("sampler", "rk4", steps=400)(denoiser, noise, grid=build("grid", "loglinear"))
    for steps in (1, 20):
        rough, fine = (
            (build("sampler", name, steps=steps, rtol=to, atol=to)(denoiser, noise) - exact).norm(dim=1).mean()
            for to in (1e-3, 1e-5)
        )
        assert fine < 1e-4, "of a tenth of the default tolerance"
        assert fine < rough / 10
