"""The stochastic solvers against exact laws: closed forms where data is normal or one point, exact draws elsewhere."""

import math

import pytest
import torch
from diffkit_samplers import (
    DDIM,
    DDPM,
    EDM,
    ERSDE,
    DPMpp2M,
    DPMpp2MSDE,
    DPMpp2S,
    DPMpp3M,
    DPMpp3MSDE,
    DPMppSDE,
    Euler,
    EulerA,
    Heun,
    KarrasGrid,
    Langevin,
    Restart,
    SASolver,
)
from diffkit_samplers.multistep import Multistep

from diffkit import DiffkitError, Streams, build, levels, levels_at
from diffkit.testing import GaussianMixture, MixtureDenoiser, check_sampler
from diffkit.testing.sampler import SCHEDULES

NAMES = ["euler_a", "edm", "dpmpp_sde", "dpmpp_2m_sde", "dpmpp_3m_sde", "sa_solver", "er_sde", "restart", "langevin"]
SAMPLERS = [
    EulerA(7),
    EDM(7),
    DPMppSDE(7),
    DPMpp2MSDE(7),
    DPMpp3MSDE(7),
    SASolver(7),
    ERSDE(7),
    ERSDE(7, phi="sde"),
    Restart(7),
    Restart(7, base=DPMpp2MSDE()),
    Langevin(7),
    Langevin(7, base="dpmpp_2m", corrector_steps=2),
]


def described(sampler):
    options = (f"{value:g}" for value in vars(sampler).values() if isinstance(value, int | float))
    return "-".join((type(sampler).__name__, *options))


def path(schedule, first, last, steps):
    """Return levels uniform in λ, without the clean one."""
    times = schedule.time(torch.linspace(first, last, steps + 1, dtype=torch.float64))
    return levels(schedule, times, like=torch.empty(0, dtype=torch.float64))[:-1]


class OneAtATime(Streams):
    """Noise of which sample i has 1 in draw i and 0 in every other, to learn the weight of each draw in the result."""

    def __init__(self):
        super().__init__(0, [])
        self.draws = 0

    def draw(self, shape, step, like=None):
        self.draws = max(self.draws, step)
        noise = torch.zeros_like(like)
        noise[step : step + 1] = 1
        return noise


def law(sampler, mean, variance, schedule, nodes):
    """Return the mean and the standard deviation of samples at the end of ``nodes``, exactly.

    The data is N(mean, variance), whose denoiser is linear in x: so are then samples in the start and in every draw.
    """
    count = 4 * len(nodes) * (1 + getattr(sampler, "corrector_steps", 0))
    x = torch.full((count, 1), nodes[0].alpha * mean, dtype=torch.float64)
    x[0] += math.hypot(nodes[0].alpha * variance**0.5, nodes[0].sigma)
    streams = OneAtATime()
    denoiser = MixtureDenoiser(GaussianMixture([1], [[mean]], [variance]), schedule)
    end = sampler.integrate(denoiser, x, nodes, streams=streams)
    assert streams.draws < count - 1
    return end[-1].item(), (end - end[-1]).norm().item()


@pytest.mark.parametrize("sampler", [build("sampler", name) for name in NAMES], ids=described)
def test_every_stochastic_solver_passes_the_kit(sampler):
    check_sampler(sampler)


@pytest.mark.parametrize("name", NAMES)
def test_every_stochastic_solver_is_installed_by_name(name):
    assert build("sampler", name, steps=3).steps == 3


@pytest.mark.parametrize("sampler", SAMPLERS, ids=described)
def test_samples_do_not_depend_on_how_alpha_and_sigma_share_lambda(sampler):
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = [
        sampler(MixtureDenoiser(GaussianMixture.soft3(), s), noise, streams=Streams(0, range(6))) for s in SCHEDULES
    ]
    for other in samples[1:]:
        assert torch.allclose(samples[0], other, rtol=0, atol=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("sampler", [*SAMPLERS, EDM(s_churn=90, s_tmin=0, s_tmax=math.inf)], ids=described)
def test_where_the_clean_data_is_one_point_every_law_is_exact_however_few_the_steps(sampler, schedule):
    """All noise is fresh and counted once, or the variance would not come out: σ'² to the last bit but a few."""
    for steps in (1, 2, 7):
        nodes = path(schedule, -3, 3, steps)
        mean, deviation = law(sampler, 0.7, 1e-30, schedule, nodes)
        assert mean == pytest.approx(nodes[-1].alpha * 0.7, abs=1e-12)
        assert deviation == pytest.approx(nodes[-1].sigma, rel=1e-12)


ORDERS = {
    EulerA(): 1,
    EDM(s_churn=4, s_tmin=0, s_tmax=math.inf): 2,
    DPMppSDE(): 2,
    DPMppSDE(eta=0.5): 2,
    DPMpp2MSDE(): 2,
    DPMpp3MSDE(): 2,
    SASolver(): 2,
    SASolver(predictor_order=1, corrector_order=2, sigma_min=0, sigma_max=math.inf): 2,
    SASolver(tau=0): 4,
    ERSDE(order=1): 1,
    ERSDE(order=2): 2,
    ERSDE(phi="sde"): 2,
    ERSDE(order=2, phi="ode"): 2,
    ERSDE(order=3, phi="ode"): 3,
    Restart(): 2,
}


@pytest.mark.parametrize("sampler", ORDERS, ids=described)
def test_the_law_of_normal_data_converges_with_the_order_of_the_solver(sampler):
    schedule, errors = SCHEDULES[0], []
    for steps in (64, 128):
        nodes = path(schedule, -3, 3, steps)
        exact = math.hypot(nodes[-1].alpha * 0.5, nodes[-1].sigma)
        errors.append(abs(law(sampler, 0.7, 0.25, schedule, nodes)[1] - exact))
    assert math.log2(errors[0] / errors[1]) == pytest.approx(ORDERS[sampler], abs=0.25)


def test_three_estimates_are_better_than_two_on_an_sde_although_of_the_same_order():
    schedule = SCHEDULES[0]
    nodes = path(schedule, -3, 3, 64)
    exact = math.hypot(nodes[-1].alpha * 0.5, nodes[-1].sigma)
    two, three = (abs(law(s, 0.7, 0.25, schedule, nodes)[1] - exact) for s in (DPMpp2MSDE(), DPMpp3MSDE()))
    assert three < two / 2


class Adams(Multistep):
    """Adams's predictor and corrector on the flow, by quadrature, with polynomials in λ."""

    extra = 1

    def coordinate(self, lam):
        return lam


PARTNERS = [
    (EulerA(9, eta=0), Euler(9)),
    (EDM(9, s_churn=0), Heun(9)),
    (DPMppSDE(9, eta=0), DPMpp2S(9)),
    (DPMpp2MSDE(9, eta=0), DPMpp2M(9)),
    (DPMpp3MSDE(9, eta=0), DPMpp3M(9)),
    (SASolver(9, tau=0, corrector_order=0), DPMpp3M(9)),
    (SASolver(9, tau=0), Adams(9, 3, corrector=True)),
    (SASolver(9, tau=0, predictor_order=1, corrector_order=2), Adams(9, 1, corrector=True)),
    (SASolver(9, sigma_min=2, sigma_max=2), Adams(9, 3, corrector=True)),
    (ERSDE(9, order=1, phi="ode"), Euler(9)),
    (Restart(9, base="dpmpp_2m", repeats=0), DPMpp2M(9)),
    (Langevin(9, base="dpmpp_2m", snr=0), DPMpp2M(9)),
    (Langevin(9, base="unipc", corrector_steps=0), build("sampler", "unipc")),
]


@pytest.mark.parametrize(("sampler", "partner"), PARTNERS, ids=described)
def test_without_noise_it_is_its_deterministic_partner(sampler, partner):
    x = torch.randn(5, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for schedule in SCHEDULES:
        denoiser, nodes = MixtureDenoiser(GaussianMixture.ring8(), schedule), path(schedule, -4, 3, 9)
        one, two = (s.integrate(denoiser, x * nodes[0].sigma, nodes) for s in (sampler, partner))
        assert torch.allclose(one, two, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    "sampler",
    [
        EulerA(9),
        ERSDE(9, order=1, phi="sde"),
        SASolver(9, predictor_order=1, corrector_order=0, sigma_min=0, sigma_max=math.inf),
        Langevin(9, corrector_steps=0),
    ],
    ids=described,
)
def test_of_first_order_with_the_noise_of_the_forward_process_it_is_ddpm(sampler):
    noise = torch.randn(5, 2, dtype=torch.float64)
    for schedule in SCHEDULES:
        denoiser = MixtureDenoiser(GaussianMixture.ring8(), schedule)
        one, two = (s(denoiser, noise, grid=KarrasGrid(), streams=Streams(0, range(5))) for s in (sampler, DDPM(9)))
        assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize("sampler", [DPMpp2MSDE(), DPMpp3MSDE(), SASolver(), ERSDE(phi="sde")], ids=described)
def test_a_first_step_is_the_posterior_of_the_forward_process(sampler):
    """q(x' | x, x_0) by Bayes: N(x'; α' x_0, σ'²) times N(x; a x', σ² - a² σ'²) with a = α/α'."""
    x, x0 = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    for schedule in SCHEDULES:
        now, then = nodes = path(schedule, -1, 0.5, 1)
        plan = sampler.prepare(nodes)[0]
        at = {"past": (), "plan": plan, "denoise": None}
        mean = sampler.step(x, x0, now, then, draw=lambda: torch.zeros_like(x), **at).item()
        shifted = sampler.step(x, x0, now, then, draw=lambda: torch.ones_like(x), **at).item()
        a = now.alpha / then.alpha
        between = now.sigma**2 - a**2 * then.sigma**2
        precision = 1 / then.sigma**2 + a**2 / between
        expected = (then.alpha * 0.9 / then.sigma**2 + a * 0.4 / between) / precision
        assert mean == pytest.approx(expected, abs=1e-12)
        assert (shifted - mean) ** 2 == pytest.approx(1 / precision, abs=1e-12)


DIRECTIONS = torch.stack([torch.tensor([math.cos(a), math.sin(a)]) for a in torch.arange(16) * math.pi / 16]).double().T
RUNS, N = 5, 1000
SOLVERS = {  # for 20 evaluations and for 50: steps, and at most how many floors and standard deviations away it is
    EulerA: ((20, 2.5, 0.4), (50, 1.2, 0.2)),
    EDM: ((10, 1.3, 0.2), (25, 1, 0.05)),
    DPMppSDE: ((10, 2, 0.35), (25, 1, 0.1)),
    DPMpp2MSDE: ((20, 1.5, 0.25), (50, 1, 0.05)),
    DPMpp3MSDE: ((20, 2, 0.3), (50, 1, 0.05)),
    SASolver: ((20, 1.5, 0.2), (50, 1, 0.05)),
    ERSDE: ((20, 1, 0.05), (50, 1, 0.05)),
    Restart: ((8, 1, 0.05), (19, 1, 0.05)),
    Langevin: ((10, 4.5, 0.6), (25, 2, 0.3)),
}


def distance(a, b):
    """Return the sliced Wasserstein-2 distance of two sets of points ``(n, 2)``."""
    return ((a @ DIRECTIONS).sort(0).values - (b @ DIRECTIONS).sort(0).values).square().mean().sqrt().item()


def moments_apart(x, mixture):
    """Return the largest error of the mean and of the covariance, in standard deviations of the data."""
    spread = mixture.covariance().diagonal().sqrt()
    mean = (x.mean(0) - mixture.mean()).abs() / spread
    covariance = (x.T.cov() - mixture.covariance()).abs() / (spread[:, None] * spread)
    return max(mean.max().item(), covariance.max().item())


@pytest.mark.parametrize("mixture", [GaussianMixture.soft3(), GaussianMixture.ring8()], ids=["soft3", "ring8"])
@pytest.mark.parametrize(("evaluations", "which"), [(20, 0), (50, 1)])
def test_samples_have_the_distribution_and_the_moments_of_the_data(mixture, evaluations, which):
    """The floor: mean and three standard deviations of the distance between as many exact draws, over five seeds."""
    seeded = [torch.Generator().manual_seed(i) for i in range(2 * RUNS)]
    data = [mixture.sample(N, generator) for generator in seeded]
    floors = torch.tensor([distance(*pair) for pair in zip(data[:RUNS], data[RUNS:], strict=True)])
    floor = (floors.mean() + 3 * floors.std()).item()
    noise = torch.randn(RUNS * N, 2, generator=torch.Generator().manual_seed(99), dtype=torch.float64)
    for solver, rows in SOLVERS.items():
        steps, floors_away, deviations_away = rows[which]
        torch.manual_seed(3)
        denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
        samples = solver(steps)(denoiser, noise, grid=KarrasGrid(sigma_min=0.01))
        assert denoiser.evaluations <= evaluations
        found = sum(distance(*pair) for pair in zip(samples.split(N), data, strict=False)) / RUNS
        assert found < floors_away * floor, (solver.__name__, found, floor)
        assert moments_apart(samples, mixture) < deviations_away, solver.__name__


def test_edm_raises_levels_by_its_churn_within_its_interval_and_never_above_the_first():
    nodes = path(SCHEDULES[0], -3, 3, 10)
    starts = EDM(s_churn=2, s_tmin=0.1, s_tmax=2).raised(nodes)
    for at, start in zip(nodes, starts, strict=True):
        inside = 0.1 <= at.ratio <= 2 and at is not nodes[-1]
        assert start.ratio == pytest.approx(at.ratio * (1.2 if inside else 1))
    near = path(SCHEDULES[0], -3, -2.9, 10)
    assert max(at.ratio for at in EDM(s_tmax=math.inf).raised(near)) == pytest.approx(near[0].ratio)


@pytest.mark.parametrize("level", [-3.0, 0.0, 1.5])
def test_langevin_settles_on_normal_data_with_the_variance_its_step_leaves(level):
    """With D = αC/v x and v = α²C + σ², x ← (1 - (1-k) σ²/v) x + σ √(1-k²) n has the fixed point below."""
    snr, variance = 0.3, 0.25
    at = levels_at([level, level + 1e-9], like=torch.empty(0, dtype=torch.float64))
    whole = at[0].alpha ** 2 * variance + at[0].sigma ** 2
    k, share = math.exp(-2 * snr**2), at[0].sigma ** 2 / whole
    deviation = law(Langevin(corrector_steps=400, snr=snr), 0.7, variance, SCHEDULES[0], at)[1]
    assert deviation**2 == pytest.approx(whole * (1 + k) / (2 - (1 - k) * share), rel=1e-6)
    assert 1 - snr**2 < deviation**2 / whole < 1 + 1e-6


def test_restart_evaluates_its_interval_again_as_often_as_it_says():
    denoiser = MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])
    nodes = path(SCHEDULES[0], -4, 4, 8)  # σ/α is exp of 4, 3, …, -4
    x = torch.randn(3, 2, dtype=torch.float64)
    Restart(base="euler", repeats=3, sigma_min=math.exp(-1.9), sigma_max=math.exp(1.1)).integrate(denoiser, x, nodes)
    assert denoiser.evaluations == 8 + 3 * 3


@pytest.mark.parametrize("sampler", SAMPLERS, ids=described)
def test_solvers_that_add_noise_refuse_to_walk_backwards(sampler):
    nodes = path(SCHEDULES[0], -3, 3, 9)[::-1]
    with pytest.raises(DiffkitError, match="backwards"):
        sampler.integrate(MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0]), torch.zeros(1, 2), nodes)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: EulerA(eta=2), "eta"),
        (lambda: DPMppSDE(eta=-1), "eta"),
        (lambda: DPMpp2MSDE(eta=-1), "eta"),
        (lambda: DPMpp3MSDE(eta=math.inf), "eta"),
        (lambda: SASolver(tau=-1), "tau"),
        (lambda: SASolver(predictor_order=5), "predictor_order"),
        (lambda: SASolver(corrector_order=-1), "corrector_order"),
        (lambda: SASolver(sigma_min=2, sigma_max=1), "sigma_min=2"),
        (lambda: ERSDE(order=4), "order"),
        (lambda: ERSDE(phi="much"), "phi"),
        (lambda: EDM(s_churn=-1), "s_churn"),
        (lambda: EDM(s_tmin=2, s_tmax=1), "s_tmin=2"),
        (lambda: Restart(repeats=-1), "repeats"),
        (lambda: Restart(sigma_min=2, sigma_max=1), "sigma_min=2"),
        (lambda: Restart(base=5), "base=5"),
        (lambda: Restart(base="hoin"), "heun"),
        (lambda: Langevin(snr=-1), "snr"),
        (lambda: Langevin(base="restart"), "base=Restart"),
    ],
)
def test_options_of_stochastic_solvers_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()


def test_a_solver_within_another_takes_options():
    assert Langevin(base={"name": "ddim", "eta": 0.5}).base.eta == 0.5
    given = DDIM()
    assert Restart(base=given).base is given
