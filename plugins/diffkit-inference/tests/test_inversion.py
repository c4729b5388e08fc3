"""Inversion, interpolation and editing against exact denoisers."""

import math
from itertools import pairwise

import pytest
import torch
from diffkit_inference import edit, interpolate, invert, regenerate, slerp

from diffkit import DiffkitError, StepSampler, Streams
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES


class Euler(StepSampler):
    """First order: the estimate is kept through the step."""

    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + then.sigma / now.sigma * (x - now.alpha * x0)


class Heun(Euler):
    """Second order in τ = σ/(α+σ): the slope (y - D)/τ is averaged over both ends."""

    def step(self, x, x0, now, then, *, denoise, **_):
        after = super().step(x, x0, now, then)
        if then.sigma == 0:
            return after
        scale, scale_then = now.alpha + now.sigma, then.alpha + then.sigma
        tau, tau_then = now.sigma / scale, then.sigma / scale_then
        slopes = (x / scale - x0) / tau + (after / scale_then - denoise(after, then)) / tau_then
        return scale_then * (x / scale + (tau_then - tau) / 2 * slopes)


class Noisy(Euler):
    """One that draws and cannot be inverted exactly."""

    def step(self, x, x0, now, then, *, draw, **_):
        return then.alpha * x0 + then.sigma * draw()


class Grid:
    """Uniform in λ between -4 and 4."""

    def __call__(self, schedule, steps):
        return schedule.time(torch.linspace(-4, 4, steps, dtype=torch.float64))


MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}


def drawn(mixture, n=64, seed=0):
    return mixture.sample(n, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("name", MIXTURES)
@pytest.mark.parametrize(("solver", "order"), [(Euler, 1), (Heun, 2)])
def test_the_error_of_reconstruction_falls_with_the_order_of_the_solver(solver, order, name, schedule):
    denoiser, x, errors = MixtureDenoiser(MIXTURES[name], schedule), drawn(MIXTURES[name]), []
    for steps in (60, 120):
        sampler = solver(steps + 1)
        back = regenerate(sampler, denoiser, invert(sampler, denoiser, x, grid=Grid()), grid=Grid())
        errors.append((back - x).norm(dim=1).mean().item())
    assert errors[1] < 0.1
    # going back and forth, the leading errors of an even order cancel: the fall is at least as fast as the order
    assert math.log2(errors[0] / errors[1]) > order - 0.25


def test_noise_of_inverted_data_is_standard_normal():
    mixture = MIXTURES["soft3"]
    noise = invert(Heun(60), MixtureDenoiser(mixture, SCHEDULES[0]), drawn(mixture, 4000), grid=Grid())
    assert noise.mean(0).abs().max() < 4 / math.sqrt(4000) + math.exp(-4)
    assert (noise.T.cov() - torch.eye(2)).abs().max() < 4 * math.sqrt(2 / 4000) + math.exp(-4)


def test_sampling_from_inverted_noise_returns_the_input():
    mixture = MIXTURES["ring8"]
    x, denoiser, sampler = drawn(mixture), MixtureDenoiser(mixture, SCHEDULES[0]), Heun(300)
    again = sampler(denoiser, invert(sampler, denoiser, x, grid=Grid()), grid=Grid())
    assert (again - x).norm(dim=1).mean() < 0.03  # up to the last step, from σ/α = e⁻⁴ = 0.018


def test_slerp_goes_from_end_to_end_on_the_great_circle():
    a, b = torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = (z / z.flatten(1).norm(dim=1).reshape(-1, 1, 1) for z in (a, b))
    stages = [slerp(a, b, share).flatten(1) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert torch.allclose(stages[0], a.flatten(1))
    assert torch.allclose(stages[-1], b.flatten(1))
    angles = [(s * t).sum(1).acos() for s, t in pairwise(stages)]
    for stage, angle in zip(stages[1:], angles, strict=True):
        assert torch.allclose(stage.norm(dim=1), torch.ones(5, dtype=torch.float64))
        assert torch.allclose(angle, angles[0])
    assert torch.allclose(slerp(a, a, 0.3), a)


def test_interpolation_of_gaussian_data_is_the_great_circle_in_the_data():
    """The flow of N(0, c² I) only scales, so noise and data turn alike."""
    data = GaussianMixture([1.0], [[0.0, 0.0, 0.0]], [0.25])
    a, b = drawn(data, 6), drawn(data, 6, seed=1)
    stages = interpolate(Heun(150), MixtureDenoiser(data, SCHEDULES[0]), a, b, 4, grid=Grid())
    assert stages.shape == (4, 6, 3)
    for i, stage in enumerate(stages):
        assert torch.allclose(stage, slerp(a, b, i / 3), atol=2e-3)


def test_an_edit_of_gaussian_data_keeps_the_share_that_is_left_of_it():
    """From x_t = α x₀ + σ ε the flow of N(0, c² I) returns c x_t / √(c² α² + σ²)."""
    c, n = 0.5, 4000
    data = GaussianMixture([1.0], [[0.0, 0.0]], [c**2])
    x = torch.tensor([[0.8, -0.4]], dtype=torch.float64).expand(n, 2)
    for strength in (0.25, 0.5, 0.75):
        made = edit(Heun(40), MixtureDenoiser(data, SCHEDULES[0]), x, strength, std=c, streams=Streams(0, range(n)))
        size = math.hypot(1 - strength, strength)
        kept, fresh = (1 - strength) / size, strength / size
        assert (made.mean(0) - kept * x[0]).abs().max() < 4 * c * fresh / math.sqrt(n) + 5e-3
        assert (made.std(0) / (c * fresh) - 1).abs().max() < 0.06


def test_an_edit_takes_the_label_as_its_strength_grows():
    mixture = MIXTURES["soft3"]
    x, label = drawn(mixture, 400), torch.full((400,), 2)
    goal, away = mixture.means[2], []
    for strength in (0.1, 0.5, 1.0):
        denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
        made = edit(Heun(30), denoiser, x, strength, std=0.5, streams=Streams(0, range(400)), label=label)
        away.append((made.mean(0) - goal).norm())
    assert away[0] > away[1] > away[2]
    assert away[2] < 0.08


def test_an_edit_of_a_sample_is_the_same_alone():
    mixture = MIXTURES["soft3"]
    x, denoiser = drawn(mixture, 8), MixtureDenoiser(mixture, SCHEDULES[0])
    whole = edit(Noisy(5), denoiser, x, 0.5, std=0.5, streams=Streams(0, range(8)))
    assert torch.allclose(whole[5:6], edit(Noisy(5), denoiser, x[5:6], 0.5, std=0.5, streams=Streams(0, [5])))


class Whole:
    """A sampler that is no stepper."""

    def __call__(self, denoiser, noise, **_):
        return noise


DENOISER, X = MixtureDenoiser(MIXTURES["soft3"], SCHEDULES[0]), torch.zeros(1, 2, dtype=torch.float64)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: invert(Whole(), DENOISER, X), "does not step from level to level"),
        (lambda: invert(Euler(1), DENOISER, X), "2 steps or more"),
        (lambda: edit(Euler(9), DENOISER, X, 0.0, std=1), "strength=0.5"),
        (lambda: edit(Euler(9), DENOISER, X, 1.5, std=1), "strength=0.5"),
        (lambda: interpolate(Euler(9), DENOISER, X, X, 1), "give 2 or more"),
    ],
)
def test_what_cannot_be_inverted_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()


def test_opposite_ends_are_joined_at_the_length_of_both():
    a = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(0))
    across = torch.randn(1, 1, 100, generator=torch.Generator().manual_seed(1))
    for size in (1e-4, 1e-2, 1.0):
        middle = slerp(a, size * across - a, 0.5)
        lengths = a.norm(), (size * across - a).norm()
        assert min(lengths) * 0.9 < middle.norm() < max(lengths) * 1.1
