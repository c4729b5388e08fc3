"""The likelihood and its bound against the exact density of mixtures."""

from math import exp, log, pi, sqrt

import pytest
import torch
from diffkit_inference import bits_per_dim, elbo, log_prob
from diffkit_inference.divergence import HutchinsonTrace, exact_trace
from diffkit_inference.dormand_prince import integrate

from diffkit import DataSpec, DiffkitError, Streams
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}


def drawn(mixture, n, seed=0):
    return mixture.sample(n, torch.Generator().manual_seed(seed))


def spread(mixture):
    return sqrt(mixture.covariance().trace().item() / mixture.dim)


def denoiser_of(mixture, schedule=SCHEDULES[0]):
    return MixtureDenoiser(mixture, schedule)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("name", MIXTURES)
def test_the_log_density_is_exact_to_1e_4_nats_in_240_evaluations(name, schedule):
    mixture = MIXTURES[name]
    x, denoiser = drawn(mixture, 64), denoiser_of(mixture, schedule)
    found = log_prob(denoiser, x, std=spread(mixture), sigma_min=0.002, sigma_max=150, rtol=1e-6)
    assert (found - mixture.log_prob(x, 1.0, 0.002)).abs().max() < 1e-4
    assert denoiser.evaluations <= 240


def test_a_smaller_tolerance_brings_a_smaller_error():
    mixture = MIXTURES["ring8"]
    x, errors = drawn(mixture, 32), []
    for rtol in (1e-3, 1e-5, 1e-7):
        found = log_prob(denoiser_of(mixture), x, std=spread(mixture), rtol=rtol)
        errors.append((found - mixture.log_prob(x, 1.0, exp(-8))).abs().max())
    assert errors[0] > 10 * errors[1] > 100 * errors[2]


def test_a_label_gives_the_density_of_its_component():
    mixture = MIXTURES["soft3"]
    x, label = drawn(mixture, 16), torch.arange(16) % 3
    alone = [GaussianMixture([1.0], mixture.means[k : k + 1], mixture.covariances[k : k + 1]) for k in range(3)]
    exact = torch.stack([m.log_prob(x, 1.0, 0.01) for m in alone])[label, torch.arange(16)]
    found = log_prob(denoiser_of(mixture), x, std=0.3, sigma_min=0.01, sigma_max=100, label=label)
    assert torch.allclose(found, exact, atol=1e-3)


def test_probes_estimate_the_trace_without_bias():
    matrix = torch.randn(12, 12, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, n = torch.zeros(1000, 3, 4, dtype=torch.float64), 1000
    streams = Streams(0, range(n))

    def function(x):
        return (x.flatten(1) @ matrix).reshape(x.shape)

    probes = [streams.draw((3, 4), k).double().sign() for k in range(2)]
    _, exact = exact_trace(function, x[:5])
    _, estimated = HutchinsonTrace(probes)(function, x)
    assert torch.allclose(exact, matrix.trace().expand(5))
    assert abs(estimated.mean() - matrix.trace()) < 4 * estimated.std() / sqrt(n)
    assert estimated.std() > 0


def test_the_estimated_likelihood_is_unbiased_and_belongs_to_the_sample():
    mixture = MIXTURES["soft3"]
    x, std = drawn(mixture, 300), spread(mixture)

    def estimate(indices):
        streams = Streams(3, indices)
        return log_prob(denoiser_of(mixture), x[list(indices)], probes=1, streams=streams, std=std, sigma_min=0.01)

    found, exact = estimate(range(300)), mixture.log_prob(x, 1.0, 0.01)
    off = found - exact
    assert off.std() > 1e-3
    assert abs(off.mean()) < 4 * off.std() / sqrt(300)
    assert torch.allclose(estimate(range(7, 9)), found[7:9], atol=1e-3)


@pytest.mark.parametrize("name", MIXTURES)
def test_the_bound_of_the_exact_denoiser_is_tight(name):
    mixture = MIXTURES[name]
    x = drawn(mixture, 1000)
    bound = elbo(
        denoiser_of(mixture), x, draws=48, std=spread(mixture), streams=Streams(0, range(1000)), sigma_min=0.002
    )
    gap = mixture.log_prob(x) - bound
    assert abs(gap.mean()) < 4 * gap.std() / sqrt(1000)
    assert gap.std() < 4


def test_the_bound_of_another_denoiser_is_below_the_likelihood():
    mixture, other = MIXTURES["ring8"], MIXTURES["soft3"]
    x = drawn(mixture, 1000)
    bound = elbo(denoiser_of(other), x, draws=48, std=spread(other), streams=Streams(0, range(1000)))
    gap = mixture.log_prob(x) - bound
    assert gap.mean() > 10 * gap.std() / sqrt(1000)


def test_the_bound_of_a_sample_is_the_same_alone():
    mixture = MIXTURES["soft3"]
    x = drawn(mixture, 8)
    whole = elbo(denoiser_of(mixture), x, draws=8, std=0.5, streams=Streams(0, range(8)))
    alone = elbo(denoiser_of(mixture), x[5:6], draws=8, std=0.5, streams=Streams(0, [5]))
    assert torch.allclose(whole[5:6], alone)


def test_bits_of_uniform_data_are_the_logarithm_of_its_levels():
    density = torch.tensor([4 * log(1 / 2)])  # four values, uniform on [-1, 1] or a bin more
    assert bits_per_dim(density, (1, 2, 2)).item() == pytest.approx(1)
    assert bits_per_dim(density, (1, 2, 2), width=2 / 256).item() == pytest.approx(8)


def test_dormand_and_prince_converge_with_order_five():
    """The number of steps grows with the fifth root of the tolerance, and the error stays in proportion."""
    calls, errors = [], []
    for rtol in (1e-6, 1e-11):
        count = [0]

        def slope(t, y, count=count):
            count[0] += 1
            return torch.stack((y[:, 1], -y[:, 0]), 1)

        start = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
        end = integrate(slope, start, 0.0, 2 * pi, rtol=rtol, atol=rtol, limit=10_000)
        calls.append(count[0])
        errors.append((end - start).norm().item())
    assert 5 < calls[1] / calls[0] < 14, calls
    assert errors[1] < 1e-4 * errors[0]


class Noisy:
    """A denoiser whose forward process is said not to be normal."""

    schedule, spec = SCHEDULES[0], DataSpec(1, (2,))

    class noise:
        gaussian = False

    def __call__(self, x, at):
        return x


X = torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: log_prob(denoiser_of(MIXTURES["ring8"]), X, std=0.5, limit=50), "not reached within 50"),
        (lambda: log_prob(denoiser_of(MIXTURES["ring8"]), X), "std=VALUE"),
        (lambda: log_prob(denoiser_of(MIXTURES["ring8"]), X, std=-1), "above 0"),
        (lambda: log_prob(denoiser_of(MIXTURES["ring8"]), X, std=1, probes=-1), "give 1 or more"),
        (lambda: log_prob(denoiser_of(MIXTURES["ring8"]), X, std=1, sigma_min=9, sigma_max=1), "sigma_min < sigma_max"),
        (lambda: log_prob(Noisy(), X), "needs independent normal noise"),
        (lambda: elbo(Noisy(), X), "needs independent normal noise"),
        (lambda: elbo(denoiser_of(MIXTURES["ring8"]), X, std=1, draws=0), "give 1 or more"),
    ],
)
def test_what_has_no_likelihood_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()
