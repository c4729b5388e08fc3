"""Ancestral steps by the variance that a model has learned."""

import pytest
import torch
from diffkit_samplers import CFG, DDPM, KarrasGrid, Langevin

from diffkit import DiffkitError, Streams, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser, check_sampler
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}


def error(mixture, sampler, n=4000):
    """Return how far the covariance of samples is from the exact one, relatively."""
    noise = torch.randn(n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        x = sampler(MixtureDenoiser(mixture, SCHEDULES[0]), noise, grid=KarrasGrid())
    return ((x.T.cov() - mixture.covariance()).norm() / mixture.covariance().norm()).item()


@pytest.mark.parametrize("steps", [5, 10])
@pytest.mark.parametrize("name", MIXTURES)
def test_with_few_steps_samples_spread_more_nearly_as_the_data_does(name, steps):
    small, large, learned = (error(MIXTURES[name], DDPM(steps, v)) for v in ("small", "large", "learned"))
    assert learned < 0.85 * min(small, large)
    assert learned < 0.12


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_where_values_are_normal_and_independent_every_step_is_exact(schedule):
    """The step's own variance, and the slope of its mean: x' of variance α'²v + σ'² from x of variance α²v + σ²."""
    denoiser, v = MixtureDenoiser(GaussianMixture([1], [[0.7]], [0.25]), schedule), 0.25
    now, then, _ = levels(schedule, torch.tensor([0.8, 0.3]), like=torch.zeros(1).double())
    x, ones = torch.tensor([[0.0], [1.0]], dtype=torch.float64), torch.ones(2, 1, dtype=torch.float64)
    sampler = DDPM(1, "learned")
    (plan,) = sampler.prepare([now, then])
    means, drawn = (
        sampler.step(
            x, denoiser.moments(x, now), now, then, past=[], plan=plan, denoise=None, draw=lambda e=e: e * ones
        )
        for e in (0.0, 1.0)
    )
    slope, noise = means[1] - means[0], drawn[0] - means[0]
    assert means[0] + slope * now.alpha * 0.7 == pytest.approx(then.alpha * 0.7)
    assert slope**2 * (now.alpha**2 * v + now.sigma**2) + noise**2 == pytest.approx(then.alpha**2 * v + then.sigma**2)


def test_it_passes_the_kit():
    check_sampler(DDPM(7, "learned"))


def test_guidance_moves_the_estimate_and_leaves_the_variance_for_an_evaluation_more():
    denoiser, noise = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0]), torch.randn(3, 2, dtype=torch.float64)
    cond = {"label": torch.tensor([0, 1, 2])}

    def draw(denoiser):
        return DDPM(4, "learned")(denoiser, noise, streams=Streams(0, range(3)), **cond)

    plain, once = draw(denoiser), denoiser.evaluations
    assert torch.allclose(draw(CFG(scale=1)(denoiser)), plain)
    assert denoiser.evaluations == 3 * once
    assert not torch.allclose(draw(CFG(scale=2)(denoiser)), plain)


def test_langevin_takes_it_as_a_base():
    denoiser, noise = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0]), torch.randn(3, 2, dtype=torch.float64)
    assert Langevin(4, base=DDPM(4, "learned"))(denoiser, noise).isfinite().all()


def test_a_model_without_a_variance_is_refused():
    def estimate(x, at):
        return x

    estimate.schedule = SCHEDULES[0]
    with pytest.raises(DiffkitError, match=r"without its variance.*sampler.variance=small"):
        DDPM(2, "learned")(estimate, torch.randn(2, 2))
    with pytest.raises(DiffkitError, match="variance=tiny"):
        DDPM(2, "tiny")
