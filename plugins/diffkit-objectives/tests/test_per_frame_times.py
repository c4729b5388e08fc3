"""A noise level for each frame: the times, and the denoiser that is trained with them."""

import pytest
import torch
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.testing.sampler import SCHEDULES

SPEC = DataSpec(2, (3, 2, 2), std=0.5)


class Linear(nn.Module):
    """A network that says of each frame a multiple of it that depends on its level."""

    per_frame = True

    def forward(self, x, lam, **cond):
        return x * torch.sigmoid(lam).reshape(len(x), 1, -1, 1, 1)


def batch():
    generator = torch.Generator().manual_seed(0)
    x0, noise = (torch.randn(4, 2, 3, 2, 2, generator=generator, dtype=torch.float64) for _ in range(2))
    return 0.5 * x0, noise, torch.rand(4, 3, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
@pytest.mark.parametrize("prediction", ["v", "edm"])
def test_the_loss_of_a_clip_is_the_mean_of_those_of_its_frames(prediction, schedule):
    """Each frame's estimate is what it is alone, at its own level, and so is the weighted square of its error."""
    x0, noise, t = batch()
    denoiser = Denoiser(Linear(), schedule, prediction, weighting="min_snr", spec=SPEC)
    alpha, sigma = (c(t)[:, None, :, None, None] for c in (schedule.alpha, schedule.sigma))
    x = alpha * x0 + sigma * noise
    alone = torch.cat([denoiser(x[:, :, i : i + 1], t[:, i]) for i in range(3)], 2)
    assert torch.allclose(denoiser(x, t), alone)
    weight = denoiser.weighting(schedule.lam(t))
    by_hand = (weight * (alone - x0).square().mean((1, 3, 4))).mean(1)
    assert torch.allclose(denoiser.losses(x0, t=t, noise=noise), by_hand)


def test_one_level_for_all_frames_is_that_of_the_clip():
    x0, noise, t = batch()
    denoiser = Denoiser(Linear(), SCHEDULES[0], "edm", weighting="learned", spec=SPEC)
    with torch.no_grad():
        denoiser.weighting.terms.normal_()
    together = denoiser.losses(x0, t=t[:, 0], noise=noise)
    assert torch.allclose(denoiser.losses(x0, t=t[:, :1].expand(4, 3), noise=noise), together)


def test_times_are_independent_between_frames_and_those_of_the_base():
    schedule, generator = SCHEDULES[0], torch.Generator().manual_seed(0)
    t = build("times", "per_frame", spec=SPEC, base="stratified")(4000, schedule, generator)
    assert t.shape == (4000, 3)
    assert t.T.corrcoef().triu(1).abs().max() < 0.06
    spread = t.flatten().sort().values
    assert torch.allclose(spread, (torch.arange(12_000).double() + 0.5) / 12_000, atol=1e-4)
    assert torch.equal(
        build("times", "per_frame", spec=SPEC)(5, schedule, torch.Generator().manual_seed(1)),
        build("times", "per_frame", spec=SPEC)(5, schedule, torch.Generator().manual_seed(1)),
    )


def test_what_cannot_be_is_said_in_a_sentence():
    with pytest.raises(DiffkitError, match="per_frame is for clips, and the data is of 2 axes"):
        build("times", "per_frame", spec=DataSpec(1, (8, 8)))
    with pytest.raises(DiffkitError, match="base=adaptive cannot be drawn by frame"):
        build("times", "per_frame", spec=SPEC, base="adaptive")
    with pytest.raises(DiffkitError, match="Identity is told one noise level for the whole of an item"):
        Denoiser(nn.Identity(), SCHEDULES[0], "edm", times="per_frame", spec=SPEC)
    x0, noise, t = batch()
    plain = Denoiser(nn.Identity(), SCHEDULES[0], "edm", spec=SPEC)
    for ask in (lambda: plain.losses(x0, t=t, noise=noise), lambda: plain(x0, t)):
        with pytest.raises(DiffkitError, match=r"one noise level for the whole of an item.*net=unet"):
            ask()
