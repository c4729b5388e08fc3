"""The weighting that learns: what it converges to, that it is trained, and that training resumes to the bit."""

import math

import pytest
import torch
from diffkit_objectives import LearnedWeighting
from torch import nn

from diffkit import DataSpec, Denoiser
from diffkit.data.stream import BatchStream
from diffkit.testing.sampler import SCHEDULES
from diffkit.training import Trainer

SPEC = DataSpec(1, (4,), std=0.5)


class Points:
    """Normal data of standard deviation 0.5, a thousand items."""

    modality, spec = "points", SPEC

    def __init__(self):
        self.items = 0.5 * torch.randn(1000, 1, 4, generator=torch.Generator().manual_seed(5))

    def __len__(self):
        return 1000

    def __getitem__(self, index):
        return self.items[index], 0


class Adam:
    lr = 0.02

    def create(self, net):
        return torch.optim.Adam(net.parameters(), lr=self.lr)

    def rate(self, step, steps):
        return self.lr * (1 - step / steps)


class Zero(nn.Module):
    """Says 0, but has a parameter to train."""

    def __init__(self):
        super().__init__()
        self.idle = nn.Parameter(torch.ones(()))

    def forward(self, x, lam):
        return 0 * self.idle * x


def trainer(net, weighting, steps, size=128):
    denoiser = Denoiser(net, SCHEDULES[0], "x0", weighting=weighting, spec=SPEC)
    return Trainer(denoiser, BatchStream(Points(), size, 0), Adam(), steps=steps, clip=0.0)


def test_at_first_it_is_its_base():
    plain, learned = (
        Denoiser(Zero(), SCHEDULES[0], "x0", weighting=w, spec=SPEC) for w in ("edm", LearnedWeighting(spec=SPEC))
    )
    x0, noise, t = torch.ones(5, 1, 4), torch.ones(5, 1, 4), torch.linspace(0, 1, 5, dtype=torch.float64)
    assert torch.equal(plain.losses(x0, t=t, noise=noise), learned.losses(x0, t=t, noise=noise))


@pytest.mark.parametrize("size", [0.3, 3.0])
def test_it_learns_the_log_of_the_mean_error_at_each_level(size):
    """A network that says 0 is off by x_0, so the mean weighted error is w(λ) std²."""
    weighting = LearnedWeighting(lambda lam: 4 * size * torch.exp(1.5 * torch.sin(lam / 2)))
    for _ in trainer(Zero(), weighting, steps=400).run():
        pass
    lam = torch.linspace(-7, 7, 15, dtype=torch.float64)
    expected = math.log(size) + 1.5 * torch.sin(lam / 2)
    assert (weighting.log_error(lam).double() - expected).abs().max() < 0.25


def test_it_leaves_the_network_its_gradient_over_the_error():
    """The gradient is that of e, divided by exp(u)."""
    gradients = []
    for u in (0.0, 2.0):
        weighting, net = LearnedWeighting("uniform"), nn.Linear(4, 4)
        nn.init.eye_(net.weight)
        nn.init.zeros_(net.bias)
        weighting.terms.data[0] = u
        net.forward = lambda x, lam, net=net: nn.functional.linear(x, net.weight, net.bias)
        denoiser = Denoiser(net, SCHEDULES[0], "x0", weighting=weighting)
        denoiser.loss(torch.ones(2, 1, 4), t=torch.tensor([0.3, 0.6]).double(), noise=torch.ones(2, 1, 4)).backward()
        gradients.append(net.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0] * math.exp(-2))


def test_it_is_trained_and_resumed_to_the_bit():
    def make():
        torch.manual_seed(0)
        return trainer(Zero(), "learned", steps=6, size=8)

    whole, part, rest = make(), make(), make()
    for _ in whole.run():
        pass
    for step in part.run():
        if step.number == 3:
            break
    rest.restore(part.tensors(), part.numbers())
    for _ in rest.run():
        pass
    assert set(whole.tensors()) == {"model", "ema", "optimizer", "weighting"}
    assert whole.tensors()["weighting"]["terms"].any()
    for name, values in whole.tensors().items():
        for key, value in values.items():
            assert torch.equal(value, rest.tensors()[name][key]), f"{name} {key}"


def test_a_weighting_that_does_not_learn_adds_nothing_to_a_checkpoint():
    assert set(trainer(Zero(), "edm", steps=1).tensors()) == {"model", "ema", "optimizer"}
