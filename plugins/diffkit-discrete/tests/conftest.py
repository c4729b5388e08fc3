"""A chain of four tokens of three classes, small enough to list everything that can happen to it."""

from itertools import pairwise

import pytest
import torch
from diffkit_discrete import AbsorbingProcess, ChainNet, DiscreteDenoiser, KeepGrid, MarkovChain, UniformProcess

from diffkit import levels, levels_at
from diffkit.testing.sampler import SCHEDULES

LIKE = torch.empty((), dtype=torch.float64)


def product(chances):
    """Chances of whole sequences ``(n, states^length)`` out of those of tokens ``(n, states, length)``."""
    whole = chances[:, :, 0]
    for i in range(1, chances.shape[2]):
        whole = (whole[:, :, None] * chances[:, None, :, i]).flatten(1)
    return whole


class Enumerated:
    """The chain under one process, with every clean and every noisy sequence there is."""

    def __init__(self, process):
        self.process = process
        self.chain = MarkovChain([0.5, 0.3, 0.2], [[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.3, 0.1, 0.6]], length=4)
        self.clean = torch.cartesian_prod(*[torch.arange(3)] * 4)
        self.noisy = torch.cartesian_prod(*[torch.arange(process.states)] * 4)
        self.data = self.chain.log_prob(self.clean).exp()

    def denoiser(self, schedule=SCHEDULES[0], error=0.0):
        """The exact denoiser, or with an error one that is of no data: it is off in its own way for every sequence."""
        net = ChainNet(self.chain, self.process)

        def off(module, inputs, logits):
            code = (inputs[0] * torch.tensor([1, 7, 31, 111])).sum(1)[:, None, None]
            return logits + error * torch.sin(code * torch.tensor([1.0, 2.0, 3.0])[:, None] + torch.arange(4))

        net.register_forward_hook(off)
        return DiscreteDenoiser(net, schedule, self.process)

    def marginal(self, lam):
        """q(x_t | x_0) ``(81, noisy)``."""
        x = torch.arange(self.process.states)[:, None]
        at = torch.full((len(x),), lam, dtype=torch.float64)
        return product(self.process.log_likelihood(x, at)[:, :, 0].exp().T[self.clean].mT)

    def divergences(self, log_p, lam):
        """What is added to the bound for a unit of λ, ``(81, noisy)``; 0 where x_t cannot come from x_0."""
        at = log_p.new_full((len(self.noisy),), lam)
        of_class = [self.process.divergence(torch.full_like(self.noisy, k), self.noisy, log_p, at) for k in range(3)]
        found = torch.stack(of_class)[self.clean.T, :, torch.arange(4)[:, None]].sum(0)
        return torch.where(self.marginal(lam) > 0, found, 0.0)

    def bound(self, denoiser):
        """The bound on -log p(x_0) of each clean sequence: the trapezoidal rule in λ, exact expectations."""
        step = 0.25
        lams = torch.arange(-16, 16 + step, step).tolist()
        return sum(
            step * (self.marginal(at.lam) * self.divergences(denoiser(self.noisy, at), at.lam)).sum(1)
            for at in levels_at(lams, like=LIKE)
        )

    def output(self, denoiser, steps, grid=None):
        """The distribution of what ``AncestralSampler`` returns, over the clean sequences."""
        path = levels(denoiser.schedule, (grid or KeepGrid())(denoiser.schedule, steps), like=LIKE)
        start = self.process.start(torch.linspace(-3, 3, 9999)).bincount(minlength=self.process.states) > 0
        start = (start / start.sum()).double()[None, :, None]
        chances = product(start.expand(1, -1, 4))[0]
        for now, then in pairwise(path):
            p = denoiser(self.noisy, now).exp()
            chances = chances @ product(self.process.posterior(self.noisy, p, now, then))
        clean = (self.noisy < 3).all(1)
        assert chances[~clean].sum() == 0
        return chances[clean]

    def frequencies(self, x):
        """How often each clean sequence is among ``x``."""
        return torch.bincount((x * torch.tensor([27, 9, 3, 1])).sum(1), minlength=81).double() / len(x)


@pytest.fixture(params=[UniformProcess, AbsorbingProcess], ids=["uniform", "absorbing"])
def world(request):
    return Enumerated(request.param(3))


@pytest.fixture
def masked():
    return Enumerated(AbsorbingProcess(3))
