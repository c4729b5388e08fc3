"""The learned variance against that of mixtures, which is known in closed form."""

import pytest
import torch
from diffkit_objectives import EDMPrediction, LearnedVariance
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, build, levels
from diffkit.denoiser import WIDEST
from diffkit.testing import GaussianMixture
from diffkit.testing.sampler import SCHEDULES

MIXTURE = GaussianMixture.soft3()
SPEC = DataSpec(2, (1,), std=0.55)
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)


class Exact(nn.Module):
    """The network that knows the moments of the mixture, but for what is added to the log of the variance."""

    def __init__(self, prediction, off=0.0):
        super().__init__()
        self.prediction, self.off = prediction, nn.Parameter(torch.tensor(off, dtype=torch.float64))

    def forward(self, x, lam):
        alpha, sigma = torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt()
        c_skip, c_out, c_in = (c[:, None, None] for c in self.prediction.coefficients(alpha, sigma))
        mean, variance = MIXTURE.moments(x / c_in, alpha, sigma)
        ratio = (variance / self.prediction.variance(alpha, sigma)[:, None, None]).log() + self.off
        return torch.cat(((mean - c_skip * x / c_in) / c_out, WIDEST * torch.atanh(ratio / WIDEST)), 1)


def batch(n):
    generator = torch.Generator().manual_seed(0)
    x0 = MIXTURE.sample(n, generator)[..., None]
    return x0, torch.randn(n, 2, 1, generator=generator, dtype=torch.float64)


@schedules
@pytest.mark.parametrize("base", ["edm", "eps", "v"])
def test_the_moments_are_those_of_the_data_under_every_schedule_and_prediction(base, schedule):
    prediction = LearnedVariance(base, spec=SPEC)
    denoiser = Denoiser(Exact(prediction), schedule, prediction)
    x0, noise = batch(6)
    for t in (0.3, 0.5, 0.8):
        level = levels(schedule, torch.tensor([t]), like=x0)[0]
        x = level.alpha * x0 + level.sigma * noise
        right = MIXTURE.moments(x, level.alpha, level.sigma)
        for at in (level, t, torch.full((6,), t, dtype=torch.float64)):
            for found, expected in zip(denoiser.moments(x, at), right, strict=True):
                assert torch.allclose(found, expected, rtol=1e-9)
        assert torch.equal(denoiser(x, level), denoiser.moments(x, level)[0])
    assert denoiser.evaluations == 15


def test_the_loss_is_least_at_the_variance_of_the_data():
    """Its slope along log v is ½ (1 - E[(x_0 - D)²]/v): nothing at the right variance, and ½ (1 - exp(-off)) off it."""
    prediction = LearnedVariance("edm", spec=SPEC)
    x0, noise = batch(10_000)
    for t in torch.tensor([0.4, 0.6], dtype=torch.float64):
        for off in (0.0, 0.3, -0.3):
            net = Exact(prediction, off)
            Denoiser(net, SCHEDULES[0], prediction).loss(x0, t=t.expand(10_000), noise=noise).backward()
            expected = (1 - torch.tensor(-off).exp().item()) / 2
            assert net.off.grad.item() == pytest.approx(expected, abs=0.04)


class Says(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = nn.Parameter(output)

    def forward(self, x, lam):
        return self.output


@pytest.mark.parametrize("base", ["edm", "eps", EDMPrediction([0.3, 0.7])], ids=["edm", "eps", "edm by channel"])
def test_the_estimate_is_trained_as_without_a_variance(base):
    """The first output gets the gradient that it gets alone, and the loss is that of both, by hand."""
    x0, noise = batch(8)
    t, schedule = torch.linspace(0.2, 0.8, 8).double(), SCHEDULES[0]
    output = torch.randn(8, 4, 1, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    both = Denoiser(Says(output), schedule, LearnedVariance(base), weighting="min_snr")
    alone = Denoiser(Says(output[:, :2].clone()), schedule, both.prediction.base, weighting="min_snr")
    losses = both.losses(x0, t=t, noise=noise)
    others = alone.losses(x0, t=t, noise=noise)
    alpha, sigma = schedule.alpha(t)[:, None, None], schedule.sigma(t)[:, None, None]
    mean, variance = both.moments(alpha * x0 + sigma * noise, t)
    for i, level in enumerate(levels(schedule, t, like=x0)[:-1]):
        here = (alpha * x0 + sigma * noise)[i : i + 1]
        both.net.output.data = output[i : i + 1]
        assert torch.allclose(both.moments(here, level)[1], variance[i : i + 1])
    both.net.output.data = output
    started_from = both.prediction.variance(alpha, sigma)
    surprise = (variance / started_from).log() / 2 + (x0 - mean) ** 2 / (2 * variance)
    assert torch.allclose(losses, others + surprise.mean((1, 2)))
    losses.sum().backward()
    others.sum().backward()
    assert torch.allclose(both.net.output.grad[:, :2], alone.net.output.grad)
    assert both.net.output.grad[:, 2:].abs().min() > 0


def test_a_small_network_learns_it():
    """Of data that is a narrow mode and a wide one, so that the variance depends on where x is."""
    pytest.importorskip("diffkit_nets")
    mixture = GaussianMixture([1, 1], [[-1, 0], [1, 0]], [0.01, 0.25])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build("net", {"name": "mlp", "width": 48, "blocks": 1}, spec=DataSpec(2, (), std=0.8, outputs=2))
    denoiser = Denoiser(net, SCHEDULES[0], "learned_variance")
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator = torch.Generator().manual_seed(0)
    x0 = mixture.sample(128 * 300, generator).float().reshape(300, 128, 2)
    level = levels(SCHEDULES[0], torch.tensor([0.4]), like=x0)[0]
    x = level.alpha * x0[0] + level.sigma * torch.randn(128, 2, generator=generator)
    right = mixture.moments(x, level.alpha, level.sigma)[1]

    def error():
        with torch.no_grad():
            return (denoiser.moments(x, level)[1] / right).log().abs().mean().item()

    before = error()
    for rows in x0:
        t = 0.3 + 0.2 * torch.rand(128, generator=generator, dtype=torch.float64)
        optimizer.zero_grad()
        denoiser.loss(rows, t=t, noise=torch.randn(128, 2, generator=generator)).backward()
        optimizer.step()
    assert error() < before / 3


def test_variances_stay_finite_whatever_the_network_says():
    denoiser = Denoiser(Says(torch.tensor([0.0, 0.0, 1e30, -1e30])[None, :, None]), SCHEDULES[0], "learned_variance")
    _, variance = denoiser.moments(torch.zeros(1, 2, 1), 0.5)
    assert variance.isfinite().all()
    assert (variance > 0).all()
    assert denoiser.loss(torch.zeros(1, 2, 1)).isfinite()


def test_what_cannot_be_is_said_in_a_sentence():
    pytest.importorskip("diffkit_nets")
    with pytest.raises(DiffkitError, match="base=learned_variance learns a variance itself"):
        build("prediction", "learned_variance", base="learned_variance")
    with pytest.raises(DiffkitError, match=r"needs 2 outputs of a network for each value.*outputs=2"):
        Denoiser(build("net", "mlp", spec=SPEC), "cosine", "learned_variance")
    with pytest.raises(DiffkitError, match=r"EDMPrediction, without a variance.*prediction=learned_variance"):
        Denoiser(build("net", "mlp", spec=SPEC), "cosine", "edm").moments(torch.zeros(1, 2, 1), 0.5)
