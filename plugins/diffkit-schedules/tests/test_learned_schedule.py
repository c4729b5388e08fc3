"""The learned schedule: monotone whatever its parameters, an exact differentiable inverse, and learning that helps."""

import math

import pytest
import torch
from diffkit_schedules import Learned
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError
from diffkit.testing import check_schedule

T = torch.linspace(0, 1, 101, dtype=torch.float64)
STD = 0.3


class Exact(nn.Module):
    """E[ε | x] of normal data with standard deviation 0.3, of an input that is scaled to unit variance."""

    spec = DataSpec(channels=1, shape=(64,), std=STD)

    def forward(self, x, lam):
        data, noise = torch.sigmoid(2 * lam) * STD**2, torch.sigmoid(-2 * lam)
        return (noise / (data + noise)).sqrt()[:, None, None] * x


def disturbed(seed=0, scale=1.5):
    schedule = Learned(width=8)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in schedule.parameters():
            parameter.add_(scale * torch.randn(parameter.shape, generator=generator))
    return schedule


def slope(schedule, t):
    """Return λ' at ``t``, for which gradients with respect to the parameters exist."""
    t = t.clone().requires_grad_()
    return torch.autograd.grad(schedule.lam(t).sum(), t, create_graph=True)[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_learned_schedule_keeps_its_promises_whatever_its_parameters(seed):
    check_schedule(disturbed(seed))


def test_a_learned_schedule_starts_nearly_linear_in_lambda():
    assert torch.allclose(Learned().lam(T), 10 - 20 * T, rtol=0, atol=0.4)


def test_ends_stay_where_they_are():
    assert disturbed().lam(T[[0, -1]]).tolist() == pytest.approx([10, -10], abs=1e-12)


def test_the_inverse_has_the_derivatives_of_the_implicit_function_theorem():
    """∂t/∂θ of the inverse against finite differences in every parameter."""
    schedule, lam = disturbed(), torch.tensor([-4.0, 0.5, 6.0], dtype=torch.float64)
    schedule.double()
    schedule.time(lam).sum().backward()
    for parameter in schedule.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in range(len(flat)):
            there = flat[i].item()
            ends = []
            for moved in (there + 1e-5, there - 1e-5):
                flat[i] = moved
                ends.append(schedule.time(lam).sum().item())
            flat[i] = there
            assert gradient[i].item() == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4, abs=1e-8)


def test_the_loss_of_a_denoiser_reaches_every_parameter_of_its_schedule():
    pytest.importorskip("diffkit_objectives")
    denoiser = Denoiser(Exact(), Learned(), "eps")
    denoiser.loss(STD * torch.randn(8, 1, 64), t=torch.rand(8, dtype=torch.float64)).backward()
    named = dict(denoiser.named_parameters())
    assert {"schedule.log_slope", "schedule.biases"} <= set(named)
    for name, parameter in named.items():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_learning_lowers_the_variance_of_the_loss_and_leaves_its_mean():
    """The loss in continuous time, |ε - ε̂|² (-λ'), has the mean ∫ v dλ with v = sigmoid(2λ + 2 log std) whatever
    the schedule; it is alike at all times, and has no variance but that of its noise, where -λ' is that mean over v."""
    pytest.importorskip("diffkit_objectives")
    torch.manual_seed(0)
    denoiser = Denoiser(Exact(), Learned(lam_min=-5, lam_max=5), "eps")
    schedule = denoiser.schedule

    def bound(n):
        t = (torch.rand(1, dtype=torch.float64) + torch.arange(n) / n) % 1
        return denoiser.losses(STD * torch.randn(n, 1, 64), t=t) * -slope(schedule, t)

    optimizer = torch.optim.Adam(schedule.parameters(), lr=0.05)
    before = bound(2000).detach()
    for _ in range(200):
        optimizer.zero_grad()
        bound(64).square().mean().backward()
        optimizer.step()
    after = bound(2000).detach()

    shift = math.log(STD)
    ends = torch.nn.functional.softplus(torch.tensor([2 * (5 + shift), 2 * (-5 + shift)], dtype=torch.float64))
    mean = (ends[0] - ends[1]).item() / 2
    assert before.mean().item() == pytest.approx(mean, rel=0.05)
    assert after.mean().item() == pytest.approx(mean, rel=0.05)
    assert after.var() < before.var() / 5
    # the best schedule: softplus(2λ + 2 log std) falls evenly
    best = torch.log(torch.expm1(ends[0] - T * (ends[0] - ends[1]))) / 2 - shift
    middle = slice(5, 80)
    assert (schedule.lam(T)[middle] - best[middle]).abs().max() < 0.3
    assert (10 - 10 * T - 5 - best)[middle].abs().max() > 2  # which is not where it started


def test_a_learned_schedule_survives_its_state_dict():
    schedule, other = disturbed(), Learned(width=8)
    other.load_state_dict(schedule.state_dict())
    assert torch.equal(schedule.lam(T), other.lam(T))


@pytest.mark.parametrize(("options", "said"), [({"width": 0}, "width=0"), ({"lam_min": 11}, "lam_min=11")])
def test_options_of_the_learned_schedule_out_of_range_are_named(options, said):
    with pytest.raises(DiffkitError, match=said):
        Learned(**options)
