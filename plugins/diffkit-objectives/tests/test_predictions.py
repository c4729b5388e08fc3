"""The predictions: targets, preconditioning, and that they are one model in other words."""

import pytest
import torch
from diffkit_objectives import (
    EDMPrediction,
    EDMWeighting,
    ELBOWeighting,
    EpsPrediction,
    FlowPrediction,
    FlowWeighting,
    MinSNRWeighting,
    P2Weighting,
    SigmoidWeighting,
    SNRWeighting,
    SoftMinSNRWeighting,
    TruncatedSNRWeighting,
    UniformWeighting,
    VPrediction,
    X0Prediction,
)
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, StepSampler, build
from diffkit.contracts.objective import Prediction
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

SPEC = DataSpec(2, (1,), std=0.4)
NAMES = ["eps", "x0", "v", "flow", "edm", "score"]
WEIGHTINGS = [
    *("uniform", "snr", "truncated_snr", "min_snr", "soft_min_snr", "p2"),
    *("elbo", "edm", "flow", "sigmoid", "learned"),
]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
predictions = pytest.mark.parametrize("name", NAMES)


class Says(nn.Module):
    """A network that says what it was told to."""

    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, lam):
        return self.output


class Exact(nn.Module):
    """The network whose denoiser is the exact one of a mixture, or that one blurred: half way to the mean."""

    def __init__(self, mixture, schedule, prediction, share=1.0):
        super().__init__()
        self.mixture, self.schedule, self.prediction, self.share = mixture, schedule, prediction, share

    def forward(self, x, lam):
        t = self.schedule.time(lam)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        c_skip, c_out, c_in = (c[:, None, None] for c in self.prediction.coefficients(alpha, sigma))
        x = x / c_in
        x0 = self.share * self.mixture.denoise(x, alpha, sigma)
        return (x0 - c_skip * x) / c_out


def batch(n=64):
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(n, 2, 1, generator=generator, dtype=torch.float64) for _ in range(2))
    return 0.4 * x0, noise, torch.linspace(0, 1, n, dtype=torch.float64)


def levels_of(schedule, t):
    return schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None]


@schedules
@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("eps", lambda x0, noise, alpha, sigma: noise),
        ("score", lambda x0, noise, alpha, sigma: -noise),
        ("x0", lambda x0, noise, alpha, sigma: x0),
        ("v", lambda x0, noise, alpha, sigma: (alpha * noise - sigma * x0) / (alpha**2 + sigma**2).sqrt()),
        ("flow", lambda x0, noise, alpha, sigma: noise - x0),
    ],
)
def test_the_network_learns_what_the_prediction_is_named_after(name, target, schedule):
    x0, noise, t = batch()
    right = target(x0, noise, *levels_of(schedule, t))
    denoiser = Denoiser(Says(right), schedule, name, spec=SPEC)
    assert denoiser.losses(x0, t=t, noise=noise).max() < 1e-20
    denoiser.net.output = right + 1
    assert torch.allclose(denoiser.losses(x0, t=t, noise=noise), torch.ones_like(t))


@schedules
@predictions
def test_a_right_output_denoises_to_the_clean_data(name, schedule):
    """Where F is its target, D(x_t) is x_0: denoising and training agree on what the output means."""
    x0, noise, t = batch()
    alpha, sigma = levels_of(schedule, t)
    prediction = build("prediction", name, spec=SPEC)
    c_skip, c_out, _ = (c[:, None, None] for c in prediction.coefficients(schedule.alpha(t), schedule.sigma(t)))
    x = alpha * x0 + sigma * noise
    denoiser = Denoiser(Says((x0 - c_skip * x) / c_out), schedule, prediction)
    assert denoiser.losses(x0, t=t, noise=noise).max() < 1e-18
    assert torch.allclose(denoiser(x, t), x0, rtol=0, atol=1e-10)


@predictions
def test_coefficients_are_the_same_for_floats_and_for_tensors(name):
    prediction = build("prediction", name, spec=SPEC)
    assert isinstance(prediction, Prediction)
    alpha, sigma = torch.tensor([0.3, 1.0], dtype=torch.float64), torch.tensor([0.9, 20.0], dtype=torch.float64)
    tensors = prediction.coefficients(alpha, sigma)
    floats = [prediction.coefficients(a, s) for a, s in zip(alpha.tolist(), sigma.tolist(), strict=True)]
    assert all(isinstance(c, float) for c in floats[0])
    for c, pair in zip(tensors, zip(*floats, strict=True), strict=True):
        assert c.dtype == torch.float64
        assert c.tolist() == pytest.approx(list(pair), rel=1e-14)


@schedules
@predictions
def test_every_prediction_gives_the_network_an_input_of_unit_variance(name, schedule):
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    for spec, std in ((SPEC, 0.4), (None, 1.0)):
        c_in = build("prediction", name, spec=spec).coefficients(alpha, sigma)[2]
        assert torch.allclose(c_in**2 * (alpha**2 * std**2 + sigma**2), torch.ones_like(t))


def test_edm_is_the_papers_preconditioning_where_alpha_is_one():
    s, sigma = 0.5, torch.logspace(-3, 2, 20, dtype=torch.float64)
    c_skip, c_out, c_in = EDMPrediction(sigma_data=s).coefficients(torch.ones_like(sigma), sigma)
    assert torch.allclose(c_skip, s**2 / (sigma**2 + s**2))
    assert torch.allclose(c_out, sigma * s / (sigma**2 + s**2).sqrt())
    assert torch.allclose(c_in, 1 / (sigma**2 + s**2).sqrt())


@schedules
def test_edm_asks_for_an_output_of_unit_variance_under_any_schedule(schedule):
    """The target is a x_0 + b ε, with a and b as the denoiser computes them, and x_0 of variance s²."""
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    c_skip, c_out, _ = EDMPrediction(spec=SPEC).coefficients(alpha, sigma)
    a, b = (1 - c_skip * alpha) / c_out, -c_skip * sigma / c_out
    assert torch.allclose(a**2 * SPEC.std**2 + b**2, torch.ones_like(t))


@schedules
@pytest.mark.parametrize(
    ("prediction", "weighting"),
    [
        (EpsPrediction(), SNRWeighting()),
        (X0Prediction(), UniformWeighting()),
        (FlowPrediction(), FlowWeighting()),
        (EDMPrediction(spec=SPEC), EDMWeighting(spec=SPEC)),
    ],
    ids=["eps-snr", "x0-uniform", "flow-flow", "edm-edm"],
)
def test_these_weightings_weigh_the_output_of_these_predictions_equally(prediction, weighting, schedule):
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    c_out = prediction.coefficients(schedule.alpha(t), schedule.sigma(t))[1]
    assert torch.allclose(weighting(schedule.lam(t)) * c_out**2, torch.ones_like(t))


@schedules
@pytest.mark.parametrize("weighting", WEIGHTINGS)
def test_a_weighting_means_the_same_loss_for_every_prediction(weighting, schedule):
    """The same estimate, half way between right and zero, in the words of each prediction."""
    x0, noise, t = batch()
    mixture = GaussianMixture.soft3()
    losses = []
    for name in NAMES:
        prediction = build("prediction", name, spec=SPEC)
        net = Exact(mixture, schedule, prediction, share=0.5)
        losses.append(Denoiser(net, schedule, prediction, weighting=weighting, spec=SPEC).losses(x0, t=t, noise=noise))
    alpha, sigma = levels_of(schedule, t)
    estimate = mixture.denoise(alpha * x0 + sigma * noise, alpha.flatten(), sigma.flatten()) / 2
    weight = build("weighting", weighting, spec=SPEC)(schedule.lam(t))
    expected = weight * (estimate - x0).square().mean((1, 2))
    for loss in losses:
        assert torch.allclose(loss, expected, rtol=1e-8)


class FirstOrder(StepSampler):
    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + then.sigma * (x - now.alpha * x0) / now.sigma


@predictions
@schedules
def test_a_network_trained_under_one_schedule_works_under_another(schedule, name):
    """What a network is asked and answers depends on λ alone, not on how α and σ share it."""
    noise = torch.randn(8, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mixture, prediction = GaussianMixture.soft3(), build("prediction", name, spec=SPEC)
    denoiser = Denoiser(Exact(mixture, SCHEDULES[0], prediction), SCHEDULES[0], prediction)
    denoiser.schedule = schedule
    exact = FirstOrder(20)(MixtureDenoiser(mixture, schedule), noise)
    assert torch.allclose(FirstOrder(20)(denoiser, noise), exact, rtol=0, atol=1e-9)


def test_v_is_the_papers_where_variance_is_preserved():
    t = torch.linspace(0, 1, 11, dtype=torch.float64)
    alpha, sigma = SCHEDULES[0].alpha(t), SCHEDULES[0].sigma(t)
    c_skip, c_out, _ = VPrediction().coefficients(alpha, sigma)
    assert torch.allclose(c_skip, alpha)
    assert torch.allclose(c_out, -sigma)


@schedules
def test_all_predictions_of_one_model_walk_one_trajectory(schedule):
    mixture = GaussianMixture.ring8()
    noise = torch.randn(8, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    exact = FirstOrder(20)(MixtureDenoiser(mixture, schedule), noise)
    for name in NAMES:
        prediction = build("prediction", name, spec=SPEC)
        denoiser = Denoiser(Exact(mixture, schedule, prediction), schedule, prediction)
        assert torch.allclose(FirstOrder(20)(denoiser, noise), exact, rtol=0, atol=1e-9)


def test_the_data_brings_its_standard_deviation_and_an_option_overrides_it():
    assert EDMPrediction().sigma_data == 1
    assert EDMPrediction(spec=SPEC).sigma_data == 0.4
    assert EDMPrediction(sigma_data=0.7, spec=SPEC).sigma_data == 0.7
    assert EDMWeighting(spec=SPEC).sigma_data == 0.4
    assert VPrediction(spec=SPEC).std == 0.4


@pytest.mark.parametrize("make", [EDMPrediction, EDMWeighting])
@pytest.mark.parametrize("std", [0, -1, float("inf"), float("nan")])
def test_a_standard_deviation_is_positive(make, std):
    with pytest.raises(DiffkitError, match="sigma_data"):
        make(sigma_data=std)


LAM = torch.linspace(-10, 10, 101, dtype=torch.float64)
SNR = torch.exp(LAM) ** 2


@pytest.mark.parametrize(
    ("weighting", "formula"),
    [
        (UniformWeighting(), torch.ones_like(SNR)),
        (SNRWeighting(), SNR),
        (MinSNRWeighting(), torch.minimum(SNR, torch.tensor(5.0))),
        (MinSNRWeighting(gamma=1.5), torch.minimum(SNR, torch.tensor(1.5))),
        (TruncatedSNRWeighting(), torch.maximum(SNR, torch.tensor(1.0))),
        (SoftMinSNRWeighting(), 4 * SNR / (4 + SNR)),
        (SoftMinSNRWeighting(gamma=torch.e**2), SigmoidWeighting(bias=2)(LAM)),
        (P2Weighting(), SNR / (1 + SNR)),
        (P2Weighting(gamma=0.5, k=2.0), SNR / (2 + SNR).sqrt()),
        (P2Weighting(gamma=0), SNR),
        (ELBOWeighting(), SNR),
        (ELBOWeighting(SCHEDULES[1]), SNR * 16),
        (EDMWeighting(sigma_data=0.5), (1 / SNR + 0.25) / (0.25 / SNR)),
        (FlowWeighting(), (1 + SNR.sqrt()) ** 2),
        (SigmoidWeighting(), SNR / (1 + SNR * torch.exp(torch.tensor(-2.0, dtype=torch.float64)))),
        (SigmoidWeighting(bias=-1), SNR / (1 + SNR * torch.exp(torch.tensor(1.0, dtype=torch.float64)))),
    ],
    ids=lambda value: type(value).__name__,
)
def test_weightings_are_their_formulas_in_snr(weighting, formula):
    weights = weighting(LAM)
    assert weights.dtype == torch.float64
    assert torch.allclose(weights, formula, rtol=1e-12)


def test_the_sigmoid_weighting_does_not_overflow():
    assert SigmoidWeighting(bias=2)(torch.tensor([1e6, -1e6])).tolist() == pytest.approx([torch.e**2, 0])


@pytest.mark.parametrize(
    ("make", "option"),
    [
        (lambda: MinSNRWeighting(gamma=0), "gamma"),
        (lambda: SoftMinSNRWeighting(gamma=-1), "gamma"),
        (lambda: P2Weighting(gamma=-1), "gamma"),
        (lambda: P2Weighting(k=0), "k=0"),
        (lambda: SigmoidWeighting(bias=1e9), "bias"),
        (lambda: build("weighting", "learned", base="learned"), "base=learned"),
        (lambda: EDMPrediction(sigma_data=[0.5, 1.0, 2.0], spec=SPEC), "2 channels"),
        (lambda: EDMPrediction(sigma_data=[0.5, 0.0], spec=SPEC), "sigma_data=0"),
    ],
)
def test_options_out_of_range_are_named(make, option):
    with pytest.raises(DiffkitError, match=option):
        make()
