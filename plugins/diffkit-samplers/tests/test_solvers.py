"""The solvers against exact denoisers, closed forms and each other."""

import math

import pytest
import torch
from diffkit_samplers import DDIM, DDPM, DPMpp2M, Euler, Heun, KarrasGrid, LogLinearGrid

from diffkit import DiffkitError, StepSampler, Streams, build, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser, check_sampler
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}
ORDERS = {Euler: 1, DDIM: 1, Heun: 2, DPMpp2M: 2}
SAMPLERS = [DDPM(7), DDPM(7, "large"), DDIM(7), DDIM(7, 0.3), DDIM(7, 1), Euler(7), Heun(7), DPMpp2M(7)]
by_name = {"ids": lambda value: getattr(value, "name", None) or getattr(value, "__name__", None)}


def described(sampler):
    return f"{type(sampler).__name__}{tuple(vars(sampler).values())}"


class Between:
    """A grid uniform in λ between two values of it."""

    def __init__(self, first, last):
        self.ends = first, last

    def __call__(self, schedule, steps):
        return schedule.time(torch.linspace(*self.ends, steps, dtype=torch.float64))


def noisy(mixture, level, n=64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, mixture.dim, generator=generator, dtype=torch.float64)
    return level.alpha * mixture.sample(n, generator) + level.sigma * z


def path(schedule, grid, steps):
    return levels(schedule, grid(schedule, steps), like=torch.empty(0, dtype=torch.float64))


def flow(mixture, x, first, last, steps=1000):
    """Return x/α carried along the probability flow from λ = ``first`` to ``last`` by the classical Runge-Kutta method.

    With s = σ/α and z = x/α the flow is dz/d(log s) = z - D, whatever the schedule.
    """

    def slope(z, lam):
        return mixture.denoise(z, 1.0, math.exp(-lam)) - z

    h = (last - first) / steps
    for i in range(steps):
        lam = first + i * h
        k1 = slope(x, lam)
        k2 = slope(x + h / 2 * k1, lam + h / 2)
        k3 = slope(x + h / 2 * k2, lam + h / 2)
        k4 = slope(x + h * k3, lam + h)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)
    return x


@pytest.mark.parametrize("sampler", SAMPLERS, ids=described)
def test_every_sampler_passes_the_kit(sampler):
    check_sampler(sampler)


@pytest.mark.parametrize("name", ["ddpm", "ddim", "euler", "heun", "dpmpp_2m"])
def test_every_sampler_is_installed_by_name(name):
    assert build("sampler", name, steps=3).steps == 3


@pytest.fixture(scope="module")
def reference():
    """The same start and its exact end for every schedule, in z = x/α, from λ=-3 to 3."""
    ends = {}
    for name, mixture in MIXTURES.items():
        generator = torch.Generator().manual_seed(0)
        z = mixture.sample(32, generator)
        z = z + math.exp(3) * torch.randn(32, 2, generator=generator, dtype=torch.float64)
        ends[name] = z, flow(mixture, z, -3, 3)
    return ends


@pytest.mark.parametrize("schedule", SCHEDULES, **by_name)
@pytest.mark.parametrize("mixture", MIXTURES)
@pytest.mark.parametrize("solver", ORDERS, **by_name)
def test_the_error_falls_with_the_order_of_the_solver(solver, mixture, schedule, reference):
    start, end = reference[mixture]
    denoiser, errors = MixtureDenoiser(MIXTURES[mixture], schedule), []
    for steps in (200, 400):
        nodes = path(schedule, Between(-3, 3), steps + 1)[:-1]
        x = solver(steps).integrate(denoiser, nodes[0].alpha * start, nodes)
        errors.append((x / nodes[-1].alpha - end).norm(dim=1).mean().item())
    order = math.log2(errors[0] / errors[1])
    assert order == pytest.approx(ORDERS[solver], abs=0.25)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=described)
def test_samples_do_not_depend_on_how_alpha_and_sigma_share_lambda(sampler):
    """α only scales x: with the same λ, every schedule gives the same x/α and so the same samples."""
    noise = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    samples = [
        sampler(MixtureDenoiser(GaussianMixture.soft3(), s), noise, streams=Streams(0, range(6))) for s in SCHEDULES
    ]
    for other in samples[1:]:
        assert torch.allclose(samples[0], other, rtol=0, atol=1e-9)


class OnePoint:
    """The denoiser of data that is a single point."""

    def __init__(self, point, schedule):
        self.point, self.schedule = point, schedule

    def __call__(self, x, at):
        return self.point.expand_as(x)


@pytest.mark.parametrize("solver", ORDERS, **by_name)
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_deterministic_solvers_are_exact_where_the_clean_data_is_one_point(solver, steps):
    """Then the flow is the straight line from x to the point, and what is left over of x is σ'/σ of its noise."""
    point = torch.tensor([0.7, -0.3], dtype=torch.float64)
    for schedule in SCHEDULES:
        nodes = path(schedule, Between(-4, 2), steps + 1)[:-1]
        z = torch.randn(3, 2, dtype=torch.float64)
        x = nodes[0].alpha * point + nodes[0].sigma * z
        x = solver(steps).integrate(OnePoint(point, schedule), x, nodes)
        assert torch.allclose(x, nodes[-1].alpha * point + nodes[-1].sigma * z, rtol=0, atol=1e-10)


@pytest.mark.parametrize("schedule", SCHEDULES, **by_name)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50])
def test_ddim_is_eulers_method(schedule, steps):
    noise = torch.randn(5, 2, dtype=torch.float64)
    for grid in (None, KarrasGrid(), LogLinearGrid()):
        denoiser = MixtureDenoiser(GaussianMixture.ring8(), schedule)
        one, two = (solver(steps)(denoiser, noise, grid=grid) for solver in (DDIM, Euler))
        assert torch.allclose(one, two, rtol=0, atol=1e-10)


def test_ddim_with_all_its_noise_is_ddpm():
    noise = torch.randn(5, 2, dtype=torch.float64)
    for schedule in SCHEDULES:
        denoiser = MixtureDenoiser(GaussianMixture.soft3(), schedule)
        one, two = (s(denoiser, noise, streams=Streams(0, range(5))) for s in (DDIM(9, eta=1), DDPM(9)))
        assert torch.allclose(one, two, rtol=0, atol=1e-10)


def test_dpmpp_2m_starts_with_a_step_of_ddim():
    denoiser = MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])
    nodes = path(SCHEDULES[0], Between(-2, 2), 2)[:-1]
    x = noisy(GaussianMixture.soft3(), nodes[0])
    one, two = (solver(1).integrate(denoiser, x, nodes) for solver in (DPMpp2M, DDIM))
    assert torch.allclose(one, two, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("solver", "evaluations"), [(DDPM, 9), (DDIM, 9), (Euler, 9), (Heun, 17), (DPMpp2M, 9)])
def test_evaluations(solver, evaluations):
    denoiser = MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])
    solver(9)(denoiser, torch.randn(2, 2))
    assert denoiser.evaluations == evaluations


def one_step(sampler, now, then):
    """Return mean and variance of a step from x=0.4 with the estimate x_0=0.9."""
    x, x0 = torch.tensor([0.4], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    (plan,) = sampler.prepare([now, then])
    mean, shifted = (
        sampler.step(x, x0, now, then, past=(), plan=plan, denoise=None, draw=lambda z=z: torch.full_like(x, z))
        for z in (0, 1)
    )
    return mean.item(), (shifted - mean).item() ** 2


@pytest.mark.parametrize("schedule", SCHEDULES, **by_name)
def test_a_ddpm_step_is_the_posterior_of_the_forward_process(schedule):
    """q(x' | x, x_0) by Bayes: N(x'; α' x_0, σ'²) times N(x; a x', σ² - a² σ'²) with a = α/α'."""
    now, then = path(schedule, Between(-1, 0.5), 2)[:-1]
    a = now.alpha / then.alpha
    between = now.sigma**2 - a**2 * then.sigma**2
    precision = 1 / then.sigma**2 + a**2 / between
    mean, variance = one_step(DDPM(), now, then)
    assert mean == pytest.approx((then.alpha * 0.9 / then.sigma**2 + a * 0.4 / between) / precision, abs=1e-12)
    assert variance == pytest.approx(1 / precision, abs=1e-12)


def test_the_large_variance_is_ddpms_beta():
    now, then = path(SCHEDULES[0], Between(-1, 0.5), 2)[:-1]
    assert one_step(DDPM(variance="large"), now, then)[1] == pytest.approx(1 - (now.alpha / then.alpha) ** 2, abs=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, **by_name)
def test_the_large_variance_keeps_marginals_of_standard_normal_data_exact_however_long_the_step(schedule):
    now, then = path(schedule, Between(-2, 1), 2)[:-1]
    shrink = now.alpha / (now.alpha**2 + now.sigma**2)  # x_0 given x is shrink · x
    x = torch.ones(1, dtype=torch.float64)
    draw = torch.zeros_like
    (plan,) = DDPM().prepare([now, then])
    mean = DDPM().step(x, shrink * x, now, then, past=(), plan=plan, denoise=None, draw=lambda: draw(x)).item()
    variance = mean**2 * (now.alpha**2 + now.sigma**2) + one_step(DDPM(variance="large"), now, then)[1]
    assert variance == pytest.approx(then.alpha**2 + then.sigma**2, rel=1e-12)


@pytest.mark.parametrize("schedule", SCHEDULES, **by_name)
@pytest.mark.parametrize("variance", ["small", "large"])
def test_ddpm_has_the_moments_of_the_data_on_the_way_and_at_the_end(schedule, variance):
    mixture, n = GaussianMixture.soft3(), 10_000
    nodes = path(schedule, Between(-3, 4), 200)
    torch.manual_seed(0)
    x = noisy(mixture, nodes[0], n)
    sampler, denoiser = DDPM(variance=variance), MixtureDenoiser(mixture, schedule)
    for part in (nodes[:101], nodes[100:]):
        x, at = sampler.integrate(denoiser, x, part), part[-1]
        covariance = at.alpha**2 * mixture.covariance() + at.sigma**2 * torch.eye(2)
        spread = covariance.diagonal().sqrt()
        assert ((x.mean(0) - at.alpha * mixture.mean()).abs() < 5 * spread / n**0.5).all()
        assert ((x.T.cov() - covariance).abs() / (spread[:, None] * spread) < 0.05).all()


class HeunOfEDM(StepSampler):
    """Karras et al. (2022), algorithm 1, as printed: Heun's method in σ/α."""

    def step(self, x, x0, now, then, *, denoise, **_):
        z, (s, s_then) = x / now.alpha, (now.ratio, then.ratio)
        d = (z - x0) / s
        z1 = z + (s_then - s) * d
        if s_then > 0:
            d = (d + (z1 - denoise(then.alpha * z1, then)) / s_then) / 2
            z1 = z + (s_then - s) * d
        return then.alpha * z1


@pytest.mark.parametrize("mixture", MIXTURES)
def test_heun_is_more_accurate_than_in_the_coordinates_of_edm_on_its_own_grid(mixture):
    schedule, mixture = SCHEDULES[2], MIXTURES[mixture]
    grid = KarrasGrid()
    start = path(schedule, grid, 2)[0]
    x = noisy(mixture, start)
    exact = flow(mixture, x, start.lam, 6, steps=1000)
    for steps in (5, 9, 18, 36):
        nodes = path(schedule, grid, steps)
        ours, edms = (
            (solver(steps).integrate(MixtureDenoiser(mixture, schedule), x, nodes) - exact).norm(dim=1).mean()
            for solver in (Heun, HeunOfEDM)
        )
        assert ours < edms / 2


class Wide:
    """σ/α from e^10 = 22,000 down to e^-10, as under the cosine and the flow schedule."""

    def lam(self, t):
        return torch.log(self.alpha(t) / self.sigma(t))

    def alpha(self, t):
        return 1 - self.sigma(t)

    def sigma(self, t):
        end = 1 / (1 + math.exp(10))
        return end + t * (1 - 2 * end)

    def time(self, lam):
        end = 1 / (1 + math.exp(10))
        return ((torch.sigmoid(-lam) - end) / (1 - 2 * end)).clamp(0, 1)


@pytest.mark.parametrize("mixture", MIXTURES)
def test_heun_is_stable_where_there_is_20000_times_more_noise_than_signal(mixture):
    mixture = MIXTURES[mixture]
    noise = torch.randn(500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    near, far = (solver(5)(MixtureDenoiser(mixture, Wide()), noise).abs().max() for solver in (Heun, HeunOfEDM))
    assert near < 2.5  # the data is within
    assert far > 10


@pytest.mark.parametrize("solver", ORDERS, **by_name)
def test_walking_a_grid_backwards_inverts_it(solver):
    """There and back again differ by the error of the solver, which falls with the number of steps."""
    mixture, schedule = GaussianMixture.soft3(), SCHEDULES[0]
    denoiser, gaps = MixtureDenoiser(mixture, schedule), []
    for steps in (50, 200):
        nodes = path(schedule, Between(-3, 3), steps + 1)[:-1]
        x = noisy(mixture, nodes[-1])
        noise = solver(steps).integrate(denoiser, x, nodes[::-1])
        gaps.append((solver(steps).integrate(denoiser, noise, nodes) - x).abs().mean().item())
    assert gaps[1] < 1.3 * gaps[0] / 4 ** ORDERS[solver]


@pytest.mark.parametrize("sampler", [DDPM(), DDIM(eta=0.5)], ids=["ddpm", "ddim"])
def test_samplers_that_add_noise_refuse_to_walk_backwards(sampler):
    nodes = path(SCHEDULES[0], Between(-3, 3), 5)[-2::-1]
    with pytest.raises(DiffkitError, match="backwards"):
        sampler.integrate(MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0]), torch.zeros(1, 2), nodes)


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: DDIM(eta=1.1), "eta"),
        (lambda: DDIM(eta=-0.1), "eta"),
        (lambda: DDPM(variance="medium"), "variance"),
        (lambda: Heun(steps=0), "steps"),
    ],
)
def test_options_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()
