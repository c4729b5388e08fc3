"""Denoisers given an observation, against the exact posterior of mixtures."""

from math import sqrt

import pytest
import torch
from diffkit_inference import DDNM, DPS, MMPS, Dense, Downsample, Mask, PiGDM, RePaint, random_projection

from diffkit import DataSpec, DiffkitError, Level, StepSampler, Streams, levels_at
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

NOISE = 0.1
LAMS = (-3.0, -1.0, 0.0, 1.0, 2.0)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tilted(d):
    root = normal(d, d, seed=2) / sqrt(d)
    covariance = root @ root.T + 0.05 * torch.eye(d, dtype=torch.float64)
    return GaussianMixture([1.0], normal(1, d, seed=3), covariance[None])


LINE = torch.tensor([[0.8, 0.6]], dtype=torch.float64)
MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}


class Heun(StepSampler):
    """Second order in σ/(α+σ); the last step, to clean data, is the estimate."""

    def step(self, x, x0, now, then, *, denoise, **_):
        after = then.alpha * x0 + then.sigma / now.sigma * (x - now.alpha * x0)
        if then.sigma == 0:
            return after
        scale, scale_then = now.alpha + now.sigma, then.alpha + then.sigma
        tau, tau_then = now.sigma / scale, then.sigma / scale_then
        slopes = (x / scale - x0) / tau + (after / scale_then - denoise(after, then)) / tau_then
        return scale_then * (x / scale + (tau_then - tau) / 2 * slopes)


class Grid:
    """Uniform in λ from noise to clean data."""

    def __call__(self, schedule, steps):
        return schedule.time(torch.linspace(-5, 5, steps, dtype=torch.float64))


def posterior(mixture, matrix, y, at):
    """Return the exact D(x | y) at a level."""
    exact = mixture.given(matrix, y, NOISE)
    return lambda x: exact.denoise(x, at.alpha, at.sigma)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_posterior_of_a_mixture_is_bayes_rule(name):
    """p(x | y) p(y) = p(x) N(y; A x, σ²): their ratio is the same everywhere."""
    mixture, y, x = MIXTURES[name], torch.tensor([0.4], dtype=torch.float64), normal(50, 2)
    likelihood = -((y - x @ LINE.T) ** 2).sum(1) / (2 * NOISE**2)
    ratio = mixture.log_prob(x) + likelihood - mixture.given(LINE, y, NOISE).log_prob(x)
    assert torch.allclose(ratio, ratio[:1].expand(50), atol=1e-9)


@pytest.mark.parametrize("lam", LAMS)
@pytest.mark.parametrize("alpha", [1.0, 0.3])
def test_mmps_is_exact_for_normal_data_of_any_covariance(lam, alpha):
    data, matrix, y = tilted(6), normal(3, 6, seed=4), normal(3, seed=5)
    at = Level(alpha, alpha * torch.tensor(-lam).exp().item(), lam, torch.tensor(lam))
    guided = MMPS(Dense(matrix, (6,)), y[None], NOISE, iterations=3)(MixtureDenoiser(data, SCHEDULES[0]))
    x = normal(8, 6, seed=6)
    assert torch.allclose(guided(x, at), posterior(data, matrix, y, at)(x), atol=1e-8)


@pytest.mark.parametrize("method", [PiGDM, DDNM])
@pytest.mark.parametrize("lam", LAMS)
def test_pigdm_and_ddnm_are_exact_for_round_normal_data(lam, method):
    c = 0.7
    data, matrix, y = GaussianMixture([1.0], normal(1, 6, seed=3), [c**2]), normal(3, 6, seed=4), normal(3, seed=5)
    (at,) = levels_at([lam], like=y)
    guided = method(Dense(matrix, (6,)), y[None], NOISE, std=c)(MixtureDenoiser(data, SCHEDULES[0]))
    x = normal(8, 6, seed=6)
    assert torch.allclose(guided(x, at), posterior(data, matrix, y, at)(x), atol=1e-9)


def test_for_tilted_normal_data_mmps_is_exact_where_the_others_are_not():
    data, matrix, y, x = tilted(6), normal(3, 6, seed=4), normal(3, seed=5), normal(8, 6, seed=6)
    (at,) = levels_at([0.0], like=y)
    exact, denoiser, operator = (
        posterior(data, matrix, y, at)(x),
        MixtureDenoiser(data, SCHEDULES[0]),
        Dense(matrix, (6,)),
    )
    off = {
        type(method).__name__: (method(denoiser)(x, at) - exact).norm().item()
        for method in (
            MMPS(operator, y[None], NOISE),
            PiGDM(operator, y[None], NOISE, std=0.7),
            DDNM(operator, y[None], NOISE, std=0.7),
            DPS(operator, y[None], NOISE, std=0.7),
        )
    }
    assert off["MMPS"] < 1e-8
    assert min(off["PiGDM"], off["DDNM"], off["DPS"]) > 0.1


@pytest.mark.parametrize("method", [DDNM, PiGDM, MMPS, DPS])
@pytest.mark.parametrize("name", MIXTURES)
def test_every_method_comes_nearer_to_the_exact_posterior_than_no_observation(name, method):
    mixture, x, y = MIXTURES[name], normal(200, 2), torch.tensor([0.4], dtype=torch.float64)
    std = sqrt(mixture.covariance().trace() / 2)
    more = {} if method is MMPS else {"std": std}
    (at,) = levels_at([0.5], like=y)
    z = at.alpha * mixture.given(LINE, y, NOISE).sample(200) + at.sigma * x
    exact, denoiser = posterior(mixture, LINE, y, at)(z), MixtureDenoiser(mixture, SCHEDULES[0])
    guided = method(Dense(LINE, (2,)), y[None], NOISE, **more)(denoiser)
    assert (guided(z, at) - exact).norm() < 0.7 * (denoiser(z, at) - exact).norm()


@pytest.mark.parametrize("method", [PiGDM, DPS])
def test_a_function_and_the_operator_that_it_is_give_one_estimate(method):
    """Along the residual A Aᵀ is a number, and for block means it is one in every direction."""
    mixture, operator = tilted(16), Downsample(2)
    y, x, more = normal(5, 1, 2, 2), normal(5, 1, 4, 4, seed=1), {"std": 0.8}
    (at,) = levels_at([0.3], like=y)
    denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
    linear = method(operator, y, NOISE, **more)(denoiser)(x, at)
    assert torch.allclose(linear, method(operator.forward, y, NOISE, **more)(denoiser)(x, at), atol=1e-10)


@pytest.mark.parametrize("make", [lambda y: PiGDM(lengths, y, 0.02, std=0.7), lambda y: DPS(lengths, y, 0.02, std=0.7)])
def test_samples_given_a_length_have_that_length(make):
    """A nonlinear observation: ‖x‖ of data on the plane."""
    mixture, n = GaussianMixture.soft3(), 300
    y = torch.tensor([[0.6]], dtype=torch.float64)
    x = Heun(40)(make(y)(MixtureDenoiser(mixture, SCHEDULES[0])), normal(n, 2), grid=Grid())
    free = Heun(40)(MixtureDenoiser(mixture, SCHEDULES[0]), normal(n, 2), grid=Grid())
    assert (lengths(x) - 0.6).abs().mean() < 0.3 * (lengths(free) - 0.6).abs().mean()


def lengths(x):
    return x.norm(dim=1, keepdim=True)


def test_dps_without_spread_is_the_point_likelihood_and_with_1_is_pigdm_on_a_projection():
    mixture, operator, y, x = tilted(16), random_projection(5, (1, 4, 4)), normal(3, 5), normal(3, 1, 4, 4, seed=1)
    (at,) = levels_at([0.3], like=y)
    denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
    same = PiGDM(operator, y, NOISE, std=0.8)(denoiser)(x, at)
    assert torch.allclose(DPS(operator, y, NOISE, std=0.8)(denoiser)(x, at), same, atol=1e-10)
    point = DPS(operator, y, NOISE, spread=0, std=0.8)(denoiser)(x, at) - denoiser(x, at)
    inputs = x.clone().requires_grad_()
    log_likelihood = -(y - operator.forward(denoiser(inputs, at))).square().sum() / (2 * NOISE**2)
    (gradient,) = torch.autograd.grad(log_likelihood, inputs)
    assert torch.allclose(point, at.sigma**2 / at.alpha * gradient, atol=1e-9)


@pytest.mark.parametrize("method", ["MMPS", "PiGDM"])
def test_sampling_normal_data_given_y_has_the_exact_mean_and_covariance(method):
    data, n = GaussianMixture([1.0], [[0.3, -0.2]], [0.25]) if method == "PiGDM" else tilted(2), 3000
    y = torch.tensor([0.4], dtype=torch.float64)
    operator = Dense(LINE, (2,))
    guidance = MMPS(operator, y[None], NOISE) if method == "MMPS" else PiGDM(operator, y[None], NOISE, std=0.5)
    x = Heun(60)(guidance(MixtureDenoiser(data, SCHEDULES[0])), normal(n, 2, seed=8), grid=Grid())
    exact = data.given(LINE, y, NOISE)
    size = exact.covariance().trace()
    assert (x.mean(0) - exact.mean()).norm() < 4 * sqrt(size / n)
    assert (x.T.cov() - exact.covariance()).norm() < 5 * size / sqrt(n)


def test_without_noise_ddnm_and_repaint_keep_what_was_seen_exactly():
    mixture, known = tilted(16), normal(1, 4, 4, seed=9) > 0
    mask, denoiser = Mask(known), MixtureDenoiser(mixture, SCHEDULES[0])
    y = mask.forward(mixture.sample(6, torch.Generator().manual_seed(0)).reshape(6, 1, 4, 4))
    guided = Heun(10)(DDNM(mask, y, std=0.8)(denoiser), normal(6, 1, 4, 4), grid=Grid())
    filled = RePaint(mask, y, steps=10, resample=3)(denoiser, normal(6, 1, 4, 4), streams=Streams(0, range(6)))
    for x in (guided, filled):
        assert torch.allclose(mask.forward(x), y, atol=1e-9)
        assert (x - denoiser.mixture.mean().reshape(1, 4, 4)).abs().max() < 4


def test_repaint_comes_to_the_posterior_as_it_resamples():
    mixture, n = GaussianMixture.soft3(), 1500
    mask, y = Mask(torch.tensor([True, False])), torch.tensor([[0.4]], dtype=torch.float64)
    exact, off = mixture.given(torch.tensor([[1.0, 0.0]], dtype=torch.float64), y[0], 1e-3), []
    for resample in (1, 8):
        sampler = RePaint(mask, y, steps=40, resample=resample)
        torch.manual_seed(0)
        x = sampler(MixtureDenoiser(mixture, SCHEDULES[0]), normal(n, 2), grid=Grid())
        off.append((x[:, 1].mean() - exact.mean()[1]).abs() + (x[:, 1].std() - exact.covariance()[1, 1].sqrt()).abs())
    assert off[1] < 0.7 * off[0]
    assert off[1] < 0.15


def test_a_sample_given_an_observation_is_the_same_alone():
    mixture, operator, y = tilted(16), random_projection(5, (1, 4, 4)), normal(6, 5)
    denoiser, noise = MixtureDenoiser(mixture, SCHEDULES[0]), normal(6, 1, 4, 4)
    for make in (
        lambda y: (MMPS(operator, y, NOISE)(denoiser), Heun(5)),
        lambda y: (DPS(operator, y, NOISE, std=0.8)(denoiser), Heun(5)),
        lambda y: (denoiser, RePaint(operator, y, NOISE, steps=5, resample=2)),
    ):
        (guided, sampler), (guided_alone, sampler_alone) = make(y), make(y[4:5])
        whole = sampler(guided, noise, streams=Streams(0, range(6)))
        alone = sampler_alone(guided_alone, noise[4:5], streams=Streams(0, [4]))
        assert torch.allclose(whole[4:5], alone, atol=1e-9)


def test_guidances_nest_and_hand_conditions_on():
    mixture, y = MIXTURES["soft3"], torch.tensor([[0.4]], dtype=torch.float64)
    (at,) = levels_at([0.0], like=y)
    inner = MMPS(Dense(LINE, (2,)), y, NOISE)(MixtureDenoiser(mixture, SCHEDULES[0]))
    x, label = normal(5, 2), torch.full((5,), 1)
    component = GaussianMixture([1.0], mixture.means[1:2], mixture.covariances[1:2])
    assert torch.allclose(inner(x, at, label=label), posterior(component, LINE, y[0], at)(x), atol=1e-8)
    assert inner.null({"label": label})["label"].tolist() == [3] * 5


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: MMPS(lengths, torch.zeros(1, 1)), "MMPS needs a linear operator"),
        (lambda: DDNM(lengths, torch.zeros(1, 1)), "DDNM needs a linear operator"),
        (lambda: MMPS(Downsample(2), torch.zeros(1, 1), -1), "give 0 or more"),
        (lambda: MMPS(Downsample(2), torch.zeros(1, 1), iterations=0), "give 1 or more"),
        (lambda: DPS(Downsample(2), torch.zeros(1, 1), spread=0), "give spread=1"),
        (lambda: RePaint(Downsample(2), torch.zeros(1, 1), resample=0), "give 1 or more"),
        (lambda: given(MMPS(Dense(LINE, (2,)), torch.zeros(2, 1), 0.1)), "one for each sample"),
        (lambda: given(MMPS(Dense(LINE, (2,)), torch.zeros(1, 3), 0.1)), "one for each sample"),
        (lambda: given(PiGDM(Dense(LINE, (2,)), torch.zeros(1, 1), 0.1)), "std=VALUE"),
    ],
)
def test_what_cannot_be_solved_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()


def given(guidance):
    (at,) = levels_at([0.0], like=normal(1))
    return guidance(MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0]))(normal(5, 2), at)


# other noise, and other guidance


class Wrapped:
    """A guidance that changes nothing."""

    def __init__(self, denoiser):
        self.denoiser, self.schedule, self.null = denoiser, denoiser.schedule, denoiser.null

    def __call__(self, x, at, **cond):
        return self.denoiser(x, at, **cond)


class Correlated:
    """Noise that is normal, but not independent."""

    gaussian, stable = False, True


@pytest.mark.parametrize("method", [DDNM, DPS, MMPS, PiGDM])
def test_an_observation_of_a_model_of_other_noise_is_refused_guided_or_not(method):
    denoiser = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0])
    denoiser.noise = Correlated()
    for model in (denoiser, Wrapped(denoiser), Wrapped(Wrapped(denoiser))):
        with pytest.raises(DiffkitError, match=r"trained with Correlated, and an observation needs independent normal"):
            method(Dense(LINE, (2,)), normal(1, 1))(model)


def test_what_the_model_knows_of_its_data_is_known_through_a_guidance():
    denoiser = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0])
    denoiser.spec = DataSpec(1, (2,), std=0.5)
    x, (at,) = normal(3, 2), levels_at([0.0], like=normal(1))
    found = [PiGDM(Dense(LINE, (2,)), normal(1, 1), NOISE)(model)(x, at) for model in (denoiser, Wrapped(denoiser))]
    assert torch.equal(*found)


def test_a_model_guided_by_a_classifier_is_as_exact_under_an_observation_as_one_that_is_not():
    samplers = pytest.importorskip("diffkit_samplers")
    covariance = 0.25 * torch.eye(2, dtype=torch.float64)
    seen = torch.tensor([[0.8, 0.6]], dtype=torch.float64)
    denoiser = MixtureDenoiser(
        GaussianMixture([1.0], torch.zeros(1, 2, dtype=torch.float64), covariance[None]), SCHEDULES[0]
    )

    def log_prob(x, at, **_):
        """Of seeing -.3 in the direction ``seen``, with a variance of .01, given x_t."""
        gain = at.alpha * 0.25 / (at.alpha**2 * 0.25 + at.sigma**2)
        variance = 0.25 - gain * at.alpha * 0.25 + 0.01
        return -((-0.3 - gain * x @ seen[0]) ** 2) / (2 * variance)

    precision = covariance.inverse() + seen.T @ seen / 0.01
    mean = torch.linalg.solve(precision, seen.T @ torch.tensor([-0.3], dtype=torch.float64) / 0.01)
    told = MixtureDenoiser(GaussianMixture([1.0], mean[None], precision.inverse()[None]), SCHEDULES[0])
    operator, y, (at,) = (
        Dense(torch.tensor([[1.0, 0.2]], dtype=torch.float64), (2,)),
        normal(1, 1),
        levels_at([0.0], like=normal(1)),
    )
    x = normal(5, 2, seed=4)
    exact = MMPS(operator, y, NOISE)(told)(x, at)
    assert torch.allclose(MMPS(operator, y, NOISE)(samplers.Classifier(log_prob)(denoiser))(x, at), exact, atol=1e-6)
