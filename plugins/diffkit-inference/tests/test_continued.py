"""Clips that go on from known frames, where what is to come is normal with a known law."""

import pytest
import torch
from diffkit_inference import Continued
from torch import nn

from diffkit import Denoiser, DiffkitError, build, levels
from diffkit.testing.sampler import SCHEDULES

for plugin in ("objectives", "samplers"):
    pytest.importorskip(f"diffkit_{plugin}")

COVARIANCE = torch.tensor([[1.0, 0.8, 0.5], [0.8, 1.0, 0.8], [0.5, 0.8, 1.0]], dtype=torch.float64)


class Exact(nn.Module):
    """x_0 of clips of three frames of one value each, N(0, C), for levels by frame: C A (A C A + Σ)⁻¹ x."""

    per_frame = True

    def forward(self, x, lam):
        lam = lam.reshape(len(x), -1).expand(len(x), 3)
        alpha, sigma = torch.sigmoid(2 * lam).sqrt(), torch.sigmoid(-2 * lam).sqrt()
        scaled = alpha[:, :, None] * COVARIANCE * alpha[:, None, :] + torch.diag_embed(sigma**2)
        x0 = COVARIANCE @ (alpha[:, :, None] * torch.linalg.solve(scaled, x.reshape(len(x), 3, 1)))
        return x0.reshape(x.shape)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_what_follows_has_the_law_of_the_data_given_what_is_known(schedule):
    denoiser = Denoiser(Exact(), schedule, "x0")
    y = torch.tensor([1.2, 0.4], dtype=torch.float64).reshape(1, 1, 2, 1, 1)
    noise = torch.randn(4000, 1, 3, 1, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x = build("sampler", "heun", steps=20)(Continued(y)(denoiser), noise, grid=build("grid", "karras"))
    assert torch.allclose(x[:, :, :2], y.expand(4000, -1, -1, -1, -1))
    gain = torch.linalg.solve(COVARIANCE[:2, :2], COVARIANCE[:2, 2])
    left = COVARIANCE[2, 2] - gain @ COVARIANCE[:2, 2]
    last = x[:, 0, 2].flatten()
    assert last.mean().item() == pytest.approx((gain @ y.flatten()).item(), abs=0.04)
    assert last.var().item() == pytest.approx(left.item(), rel=0.1)


def test_another_guidance_may_double_the_batch():
    denoiser = Denoiser(Exact(), SCHEDULES[0], "x0")
    seen = []

    def doubled(inner):
        def estimate(x, at, **cond):
            seen.append(inner(torch.cat((x, x)), at))
            return seen[-1].chunk(2)[0]

        estimate.schedule = inner.schedule
        return estimate

    y, noise = (torch.randn(4, 1, k, 1, 1, dtype=torch.float64) for k in (1, 3))
    x = build("sampler", "ddim", steps=3)(Continued(y, doubled)(denoiser), noise)
    assert torch.allclose(seen[-1][:4], seen[-1][4:])
    assert torch.allclose(x[:, :, :1], y)


def test_frames_that_are_not_those_of_the_samples_are_refused():
    noise = torch.randn(4, 1, 3, 1, 1, dtype=torch.float64)
    for shape in ((3, 1, 1, 1, 1), (1, 2, 1, 1, 1), (1, 1, 3, 1, 1), (1, 1, 1, 2, 1)):
        denoiser = Continued(torch.zeros(shape))(Denoiser(Exact(), SCHEDULES[0], "x0"))
        with pytest.raises(DiffkitError, match="known frames have shape"):
            build("sampler", "ddim", steps=1)(denoiser, noise)


class Weak(Exact):
    """Estimates a third of it."""

    def forward(self, x, lam):
        return super().forward(x, lam) / 3


def test_a_weaker_model_is_told_the_frames_too():
    samplers = pytest.importorskip("diffkit_samplers")
    strong, weak = (Denoiser(net(), SCHEDULES[0], "x0") for net in (Exact, Weak))
    y, x = (torch.randn(4, 1, k, 1, 1, dtype=torch.float64) for k in (2, 3))
    at = levels(SCHEDULES[0], torch.tensor([0.5]), like=x)[0]
    guided = Continued(y, samplers.Autoguidance(weak, scale=3.0))(strong)(x, at)
    assert torch.allclose(guided[:, :, :2], y)
    both = [Continued(y)(model)(x, at)[:, :, 2:] for model in (strong, weak)]
    assert torch.allclose(guided[:, :, 2:], both[1].lerp(both[0], 3.0))
    assert strong.evaluations == 1 + 1 + 1, "its own, one for the weak model, and the comparison's"


def test_the_variance_of_what_is_known_is_zero_and_of_the_rest_that_of_the_model():
    class Moments:
        schedule = SCHEDULES[0]

        def moments(self, x, t, **cond):
            return x, t[:, None, :, None, None] + 0 * x

    y, x = (torch.randn(4, 1, k, 1, 1, dtype=torch.float64) for k in (2, 3))
    at = levels(SCHEDULES[0], torch.tensor([0.5]), like=x)[0]
    x0, variance = Continued(y)(Moments()).moments(x, at)
    assert torch.equal(x0[:, :, :2], y)
    assert variance[:, :, :2].eq(0).all()
    assert torch.allclose(variance[:, :, 2:], torch.tensor(0.5, dtype=torch.float64))
