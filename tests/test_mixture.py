"""The mixture's closed forms against definitions and brute force."""

import math

import pytest
import torch

from diffkit import levels
from diffkit.contracts.sampling import Denoise
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}


@pytest.fixture(params=MIXTURES)
def mixture(request):
    return MIXTURES[request.param]


def plane(n=401, reach=3.0):
    axis = torch.linspace(-reach, reach, n, dtype=torch.float64)
    return torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2


def test_the_density_integrates_to_one(mixture):
    x, area = plane()
    assert (mixture.log_prob(x).exp().sum() * area).item() == pytest.approx(1, abs=1e-6)


def test_the_denoiser_is_the_posterior_mean_by_brute_force(mixture):
    """E[x_0 | x_t] = ∫ x_0 N(x_t; α x_0, σ²) p(x_0) / p(x_t)."""
    alpha, sigma = 0.8, 0.5
    x0, area = plane()
    for x in torch.tensor([[0.3, -0.2], [1.0, 0.7], [-2.0, 0.1]], dtype=torch.float64):
        weights = (mixture.log_prob(x0) - ((x - alpha * x0) ** 2).sum(1) / (2 * sigma**2)).exp()
        expected = (weights[:, None] * x0).sum(0) / weights.sum()
        assert torch.allclose(mixture.denoise(x[None], alpha, sigma)[0], expected, atol=1e-8)
        evidence = weights.sum() * area / (2 * math.pi * sigma**2)
        assert mixture.log_prob(x[None], alpha, sigma).item() == pytest.approx(evidence.log().item(), abs=1e-8)


def test_the_variance_is_the_slope_of_the_denoiser(mixture):
    """Var[x_0 | x] = σ²/α ∂D/∂x, value by value, and by brute force."""
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    mean, variance = mixture.moments(x, 0.8, 0.5)
    assert torch.equal(mean, mixture.denoise(x, 0.8, 0.5))
    slopes = [torch.autograd.grad(mean[:, i].sum(), x, retain_graph=True)[0][:, i] for i in range(2)]
    assert torch.allclose(variance, 0.5**2 / 0.8 * torch.stack(slopes, 1), atol=1e-10)
    x0, _ = plane()
    weights = (mixture.log_prob(x0) - ((x[0].detach() - 0.8 * x0) ** 2).sum(1) / (2 * 0.5**2)).softmax(0)
    spread = weights @ (x0 - weights @ x0) ** 2
    assert torch.allclose(variance[0], spread, atol=1e-8)


def test_the_denoiser_follows_tweedies_formula(mixture):
    """α E[x_0 | x] = x + σ² ∇ log p(x), at a level for each item."""
    x = torch.randn(6, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    alpha, sigma = torch.linspace(0.1, 1, 6).double(), torch.linspace(2, 0.05, 6).double()
    score = torch.autograd.grad(mixture.log_prob(x, alpha, sigma).sum(), x)[0]
    tweedie = (x + sigma[:, None] ** 2 * score) / alpha[:, None]
    assert torch.allclose(mixture.denoise(x, alpha, sigma), tweedie, atol=1e-10)


def test_samples_have_the_mean_and_covariance(mixture):
    n = 100_000
    x = mixture.sample(n, torch.Generator().manual_seed(0))
    spread = mixture.covariance().diagonal().sqrt()
    assert ((x.mean(0) - mixture.mean()).abs() < 4 * spread / n**0.5).all()
    assert torch.allclose(x.T.cov(), mixture.covariance(), atol=0.01)


def test_samples_of_a_label_are_of_its_component(mixture):
    x = mixture.sample(50_000, torch.Generator().manual_seed(0), label=1)
    assert torch.allclose(x.mean(0), mixture.means[1], atol=0.01)
    assert torch.allclose(x.T.cov(), mixture.covariances[1], atol=0.003)


def test_variances_may_be_given_per_component_per_axis_or_as_matrices():
    one = GaussianMixture([1, 3], [[0, 0], [1, 2]], [0.5, 0.2])
    two = GaussianMixture([1, 3], [[0, 0], [1, 2]], [[0.5, 0.5], [0.2, 0.2]])
    three = GaussianMixture([0.25, 0.75], [[0, 0], [1, 2]], torch.stack((0.5 * torch.eye(2), 0.2 * torch.eye(2))))
    x = torch.randn(5, 2, dtype=torch.float64)
    for other in (two, three):
        assert torch.allclose(one.denoise(x, 0.7, 0.3), other.denoise(x, 0.7, 0.3))


@pytest.mark.parametrize("wrong", [([1, -1], [0.1, 0.1]), ([1, 1], [0.1, 0])])
def test_weights_and_variances_have_to_be_positive(wrong):
    weights, variances = wrong
    with pytest.raises(ValueError, match="positive"):
        GaussianMixture(weights, [[0, 0], [1, 1]], variances)


def test_the_denoiser_fits_the_protocol_and_keeps_shape_and_dtype(mixture):
    denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
    assert isinstance(denoiser, Denoise)
    x = torch.randn(4, 1, 2, 1)
    at = levels(denoiser.schedule, torch.tensor([0.6]), like=x)[0]
    x0 = denoiser(x, at)
    assert (x0.shape, x0.dtype) == (x.shape, x.dtype)
    assert torch.allclose(x0.flatten(1).double(), denoiser(x.flatten(1).double(), at), atol=1e-6)


def test_labels_pick_components_and_the_null_label_stands_for_all(mixture):
    denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
    x = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    at = levels(denoiser.schedule, torch.tensor([0.5]), like=x)[0]
    label = torch.tensor([0, 1, 2])
    alone = GaussianMixture([1], mixture.means[1:2], mixture.covariances[1:2])
    assert torch.allclose(denoiser(x, at, label=label)[1], alone.denoise(x, at.alpha, at.sigma)[1])
    assert torch.equal(denoiser(x, at, **denoiser.null({"label": label})), denoiser(x, at))
