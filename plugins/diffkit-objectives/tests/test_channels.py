"""EDM preconditioning with a standard deviation for each channel."""

import pytest
import torch
from diffkit_objectives import EDMPrediction
from torch import nn

from diffkit import DataSpec, Denoiser, build, levels
from diffkit.testing.sampler import SCHEDULES

STDS = [0.5, 2.0, 8.0]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
shapes = pytest.mark.parametrize("shape", [(), (5,), (2, 4), (2, 1, 3)], ids=str)


class Recorder(nn.Module):
    """Says a fixed multiple of what it is asked, and keeps it."""

    def forward(self, x, lam):
        self.asked = x
        return 0.4 * x


def batch(shape, n=6):
    generator = torch.Generator().manual_seed(0)
    return (torch.randn(n, 3, *shape, generator=generator, dtype=torch.float64) for _ in range(2))


@schedules
@shapes
def test_each_channel_is_the_model_of_its_own_standard_deviation(schedule, shape):
    """In the estimate, at a level and at times, and in the loss without a weighting."""
    x0, noise = batch(shape)
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    whole = Denoiser(Recorder(), schedule, EDMPrediction(sigma_data=STDS))
    level = levels(schedule, t[2:3], like=x0)[0]
    alone = [Denoiser(Recorder(), schedule, EDMPrediction(sigma_data=s)) for s in STDS]
    one = [slice(c, c + 1) for c in range(3)]
    for at in (level, t, 0.3):
        expected = torch.cat([d(x0[:, c], at) for d, c in zip(alone, one, strict=True)], 1)
        torch.testing.assert_close(whole(x0, at), expected, rtol=1e-12, atol=1e-12)
    expected = sum(d.losses(x0[:, c], t=t, noise=noise[:, c]) for d, c in zip(alone, one, strict=True)) / 3
    torch.testing.assert_close(whole.losses(x0, t=t, noise=noise), expected, rtol=1e-12, atol=0)


@schedules
def test_a_weighting_of_the_error_of_x0_means_the_same_whatever_the_channels_stds(schedule):
    x0, noise = batch((5,))
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    alpha, sigma = (f(t)[:, None, None] for f in (schedule.alpha, schedule.sigma))
    denoiser = Denoiser(Recorder(), schedule, EDMPrediction(sigma_data=STDS), weighting="min_snr")
    error = (denoiser(alpha * x0 + sigma * noise, t) - x0).square().flatten(1).mean(1)
    weight = build("weighting", "min_snr")(schedule.lam(t))
    torch.testing.assert_close(denoiser.losses(x0, t=t, noise=noise), weight * error, rtol=1e-7, atol=0)


@schedules
def test_the_network_is_asked_for_unit_variance_in_every_channel(schedule):
    x0, noise = batch((4_000,), n=3)
    x0 = x0 * torch.tensor(STDS, dtype=torch.float64)[:, None]
    t = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    denoiser = Denoiser(Recorder(), schedule, EDMPrediction(sigma_data=STDS))
    denoiser.losses(x0, t=t, noise=noise)
    assert (denoiser.net.asked.square().mean(2) - 1).abs().max() < 5 * (2 / 4_000) ** 0.5


def test_float32_samples_stay_float32():
    x0, _ = batch((4,))
    denoiser = Denoiser(Recorder(), SCHEDULES[0], EDMPrediction(sigma_data=STDS))
    level = levels(SCHEDULES[0], torch.tensor([0.4]), like=x0.float())[0]
    assert denoiser(x0.float(), level).dtype == torch.float32
    assert denoiser.losses(x0.float()).dtype == torch.float32


def test_equal_numbers_are_one_number():
    x0, noise = batch((4,))
    t = torch.linspace(0, 1, 6, dtype=torch.float64)
    spec = DataSpec(3, (4,), std=7.0)
    many, one = (
        Denoiser(
            Recorder(), SCHEDULES[1], build("prediction", "edm", sigma_data=s, spec=spec), weighting="edm", spec=spec
        )
        for s in ([0.5, 0.5, 0.5], 0.5)
    )
    torch.testing.assert_close(many.losses(x0, t=t, noise=noise), one.losses(x0, t=t, noise=noise), rtol=1e-12, atol=0)
