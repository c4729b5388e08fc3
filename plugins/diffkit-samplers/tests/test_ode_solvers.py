"""Deterministic solvers: the kit, their orders, exact cases, evaluations, and bad options."""

import math
import warnings
from functools import partial

import pytest
import torch
from diffkit_samplers import (
    DEIS,
    DPM2,
    IPNDM,
    LMS,
    PNDM,
    RK4,
    Bosh3,
    Dopri5,
    DPMpp2S,
    DPMpp3M,
    DPMpp3S,
    UniPC,
)

from diffkit import DiffkitError, build, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser, check_sampler
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}
START, END = -5, 1
ORDERS = {
    "dpm_2": (DPM2, 2, 50),
    "dpmpp_2s": (DPMpp2S, 2, 50),
    "dpmpp_3s": (DPMpp3S, 3, 40),
    "dpmpp_3m": (DPMpp3M, 3, 100),
    "unipc-1": (partial(UniPC, order=1), 2, 50),
    "unipc-2-bh1": (partial(UniPC, order=2, variant="bh1"), 3, 100),
    "unipc-2": (partial(UniPC, order=2), 3, 100),
    "unipc-3": (partial(UniPC, order=3), 4, 100),
    "unipc-3 without its corrector": (partial(UniPC, order=3, corrector=False), 3, 100),
    "deis-1": (partial(DEIS, order=1), 1, 50),
    "deis-2": (partial(DEIS, order=2), 2, 100),
    "deis": (DEIS, 3, 100),
    "lms-2": (partial(LMS, order=2), 2, 100),
    "lms-3": (partial(LMS, order=3), 3, 100),
    "lms": (LMS, 4, 100),
    "ipndm": (IPNDM, 2, 50),
    "pndm": (PNDM, 2, 50),
    "rk4": (RK4, 4, 20),
}
EVALUATIONS = {
    "dpm_2": 17,
    "dpmpp_2s": 17,
    "dpmpp_3s": 25,
    "dpmpp_3m": 9,
    "unipc": 9,
    "deis": 9,
    "lms": 9,
    "ipndm": 9,
    "pndm": 18,
    "rk4": 33,
}


def path(schedule, first, last, steps):
    lam = torch.linspace(first, last, steps + 1, dtype=torch.float64)
    return levels(schedule, schedule.time(lam), like=lam)[:-1]


def start(mixture, n=16):
    """Return z = x/α at λ = ``START``."""
    generator = torch.Generator().manual_seed(0)
    z = MIXTURES[mixture].sample(n, generator)
    return z + math.exp(-START) * torch.randn(n, 2, generator=generator, dtype=torch.float64)


def exact(mixture, z):
    """Return the end of the flow by steps that are short enough."""
    nodes = path(SCHEDULES[2], START, END, 250)
    return RK4(250).integrate(MixtureDenoiser(mixture, SCHEDULES[2]), z, nodes)


@pytest.fixture(scope="module")
def ends():
    return {name: exact(mixture, start(name)) for name, mixture in MIXTURES.items()}


def test_what_the_orders_are_measured_against_is_exact():
    """The flow of a Gaussian scales its deviation from the mean, as the spread of the marginal is scaled."""
    one, z = GaussianMixture([1.0], [[0.3, -0.2]], [[0.5, 0.02]]), start("soft3")
    spread = [(torch.tensor([0.5, 0.02], dtype=torch.float64) + math.exp(-2 * lam)).sqrt() for lam in (START, END)]
    closed_form = one.means + spread[1] / spread[0] * (z - one.means)
    assert torch.allclose(exact(one, z), closed_form, rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", ORDERS)
@pytest.mark.parametrize("mixture", MIXTURES)
def test_the_error_falls_with_the_order_of_the_solver_under_every_schedule(name, mixture, ends):
    make, claim, steps = ORDERS[name]
    for schedule in SCHEDULES:
        errors = []
        for n in (steps, 2 * steps):
            nodes = path(schedule, START, END, n)
            x = make(n).integrate(MixtureDenoiser(MIXTURES[mixture], schedule), nodes[0].alpha * start(mixture), nodes)
            errors.append((x / nodes[-1].alpha - ends[mixture]).norm(dim=1).mean().item())
        assert math.log2(errors[0] / errors[1]) == pytest.approx(claim, abs=0.25), (schedule.name, errors)


@pytest.mark.parametrize(
    "sampler",
    [
        DPM2,
        DPMpp2S,
        DPMpp3S,
        DPMpp3M,
        UniPC,
        UniPC(order=3, variant="bh1"),
        DEIS,
        LMS,
        IPNDM,
        PNDM,
        RK4,
        Bosh3,
        Dopri5(rtol=1e-3, atol=1e-3),
    ],
    ids=lambda s: s.__name__ if isinstance(s, type) else f"{type(s).__name__}{tuple(vars(s).values())}",
)
def test_every_solver_passes_the_kit(sampler):
    check_sampler(sampler)


@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations(name):
    denoiser = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0])
    build("sampler", name, steps=9)(denoiser, torch.randn(2, 2))
    assert denoiser.evaluations == EVALUATIONS[name]


class OnePoint:
    """The denoiser of data that is a single point."""

    def __init__(self, point, schedule):
        self.point, self.schedule = point, schedule

    def __call__(self, x, at):
        return self.point.expand_as(x)


@pytest.mark.parametrize("name", [*EVALUATIONS, "bosh3", "dopri5"])
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_solvers_are_exact_where_the_clean_data_is_one_point(name, steps):
    """Then the noise of x is kept, in proportion to σ, and none of it is left at σ=0."""
    point, z = torch.tensor([0.7, -0.3], dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)
    solver = build("sampler", name, steps=steps)
    for schedule in SCHEDULES:
        nodes = path(schedule, -4, 2, steps)
        for walked in (nodes, nodes[::-1]):
            x = solver.integrate(OnePoint(point, schedule), walked[0].alpha * point + walked[0].sigma * z, walked)
            assert torch.allclose(x, walked[-1].alpha * point + walked[-1].sigma * z, rtol=1e-9, atol=1e-10)
        assert torch.allclose(solver(OnePoint(point, schedule), z), point, rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ORDERS)
def test_inversion_and_sampling_return_with_an_error_that_falls_with_the_order(name):
    make, order, _ = ORDERS[name]
    mixture, schedule, gaps = MIXTURES["soft3"], SCHEDULES[0], []
    for steps in (25, 50):
        nodes, generator = path(schedule, -3, 4, steps), torch.Generator().manual_seed(0)
        noise = torch.randn(16, 2, generator=generator, dtype=torch.float64)
        x = nodes[-1].alpha * mixture.sample(16, generator) + nodes[-1].sigma * noise
        denoiser = MixtureDenoiser(mixture, schedule)
        inverted = make(steps).integrate(denoiser, x, nodes[::-1])
        gaps.append((make(steps).integrate(denoiser, inverted, nodes) - x).abs().mean().item())
    assert math.log2(gaps[0] / gaps[1]) > order - 0.25


TOO_HIGH = {
    "exp_adams": {"order": 3},
    "unipc": {"order": 3},
    "deis": {"order": 3},
    "lms": {"order": 3},
    "er_sde": {"order": 3},
    "sa_solver": {"predictor_order": 3},
}


@pytest.mark.parametrize("name", TOO_HIGH)
def test_an_order_beyond_the_steps_is_warned_of_where_it_is_asked_for(name):
    with pytest.warns(UserWarning, match="order=3 looks at 3 estimates, but .* steps=2"):
        build("sampler", name, steps=2, **TOO_HIGH[name])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        build("sampler", name, steps=3, **TOO_HIGH[name])
        build("sampler", name, steps=1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: UniPC(order=4), "order=4"),
        (lambda: UniPC(order=0), "order=0"),
        (lambda: UniPC(variant="bh3"), "bh1 or bh2"),
        (lambda: DEIS(order=4), "1 to 3"),
        (lambda: LMS(order=5), "1 to 4"),
        (lambda: LMS(order=0), "1 to 4"),
        (lambda: RK4(steps=0), "steps=0"),
    ],
)
def test_options_out_of_range_are_answered_in_a_sentence(make, message):
    with pytest.raises(DiffkitError, match=message):
        make()
