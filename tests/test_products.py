"""Any schedule with any prediction, solver, grid and guidance: they are independent choices."""

from itertools import product

import pytest
import torch
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, Streams, build, compose
from diffkit.testing import GaussianMixture, MixtureDenoiser

SCHEDULES = ("linear", "cosine", "flow", "edm")
SAMPLERS = ("ddpm", "ddim", "euler", "heun", "dpmpp_2m", "exp_adams", "unipc")
GRIDS = ("uniform", "karras", "loglinear", "rational")
GUIDANCES = ("none", "cfg")
PREDICTIONS = ("eps", "x0", "v", "flow", "edm")
MIXTURE = GaussianMixture.ring8()


def noise(n=8):
    return torch.randn(n, 2, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_solver_is_finite_under_every_schedule_on_every_grid(schedule, sampler):
    denoiser = MixtureDenoiser(MIXTURE, build("schedule", schedule))
    for grid, steps in product(GRIDS, (1, 2, 3, 5, 50)):
        for z in (noise(), noise().float()):
            x = build("sampler", sampler, steps=steps)(
                denoiser, z, grid=build("grid", grid), streams=Streams(0, range(len(z)))
            )
            assert (x.shape, x.dtype) == (z.shape, z.dtype)
            assert x.isfinite().all(), (grid, steps, z.dtype)
            assert x.abs().max() < 10, (grid, steps, z.dtype)


class Exact(nn.Module):
    """The network that, under a schedule and a prediction, is the exact denoiser."""

    def __init__(self, schedule, prediction):
        super().__init__()
        self.schedule, self.prediction, self.spec = schedule, prediction, DataSpec(2, (1,), tuple("abcdefgh"))

    def forward(self, x, lam, label=None):
        t = self.schedule.time(lam)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        c_skip, c_out, c_in = (c[:, None, None] for c in self.prediction.coefficients(alpha, sigma))
        return (MIXTURE.denoise(x / c_in, alpha, sigma, label) - c_skip * x / c_in) / c_out


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("guidance", GUIDANCES)
def test_predictions_of_one_model_give_one_trajectory_under_every_solver_and_guidance(schedule, guidance):
    schedule, guidance = build("schedule", schedule), build("guidance", guidance)
    label = torch.arange(8)
    for sampler in SAMPLERS:
        solve = build("sampler", sampler, steps=9)
        exact = solve(guidance(MixtureDenoiser(MIXTURE, schedule)), noise(), streams=Streams(0, range(8)), label=label)
        for name in PREDICTIONS:
            prediction = build("prediction", name)
            denoiser = guidance(Denoiser(Exact(schedule, prediction), schedule, prediction))
            x = solve(denoiser, noise(), streams=Streams(0, range(8)), label=label)
            assert torch.allclose(x, exact, rtol=0, atol=1e-9), (sampler, name, (x - exact).abs().max())


def test_a_component_within_another_is_given_as_a_whole():
    nested = compose("guidance=interval", "guidance.base={name: cfg, scale: 3}").guidance
    assert (nested.base.name, nested.base.scale) == ("cfg", 3)
    with pytest.raises(DiffkitError, match=r"'guidance.base.scale' cannot be set by itself; give guidance.base as"):
        compose("guidance=interval", "guidance.base.scale=3")
