"""A schedule, a prediction, a network, a sampler and an optimizer, none of which inherits from diffkit's contracts."""

import torch
from torch import nn

import diffkit


class Root:
    """α = √(1 - t'), σ = √t' with t' from 1e-4 to 1 - 1e-4: the signal-to-noise ratio is 1/t' - 1."""

    def _inner(self, t):
        return 1e-4 + t * (1 - 2e-4)

    def alpha(self, t):
        return (1 - self._inner(t)).sqrt()

    def sigma(self, t):
        return self._inner(t).sqrt()

    def lam(self, t):
        return -torch.logit(self._inner(t)) / 2

    def time(self, lam):
        return ((torch.sigmoid(-2 * lam) - 1e-4) / (1 - 2e-4)).clamp(0, 1)


class Clean:
    """The network sees unit variance and says the clean data, where that is not the input already."""

    def __init__(self, *, spec: diffkit.DataSpec | None = None):
        self.std = spec.std if spec else 1.0

    def coefficients(self, alpha, sigma):
        total = sigma**2 + (alpha * self.std) ** 2
        return alpha * self.std**2 / total, sigma * self.std / total**0.5, total**-0.5


class Dense(nn.Module):
    """Three linear layers over the data, λ and the label."""

    def __init__(self, spec: diffkit.DataSpec, width: int = 64):
        if width < 1:
            raise ValueError(f"width={width} must be at least 1")
        super().__init__()
        self.spec = spec
        self.label = nn.Embedding(len(spec.labels) + 1, width)
        self.inner = nn.Linear(spec.size + 2, width)
        self.middle = nn.Linear(width, width)
        self.outer = nn.Linear(width, spec.size)

    def forward(self, x, lam, label=None):
        if label is None:
            label = torch.full((len(x),), len(self.spec.labels), device=x.device)
        level = torch.stack((torch.tanh(lam / 4), torch.sin(lam / 4)), -1)
        hidden = self.inner(torch.cat((x.flatten(1), level), -1)) + self.label(label)
        hidden = nn.functional.silu(self.middle(nn.functional.silu(hidden)))
        return self.outer(hidden).reshape(x.shape)


class Midpoint(diffkit.StepSampler):
    """Second order: the slope in the middle of the step, in the coordinates σ/(α+σ) and x/(α+σ)."""

    def step(self, x, x0, now, then, *, denoise, **_):
        slope = (x - now.alpha * x0) / now.sigma - x0
        whole = now.alpha + now.sigma
        tau, target = now.sigma / whole, then.sigma / (then.alpha + then.sigma)
        if then.sigma == 0:
            return x / whole + (target - tau) * slope
        half = (tau + target) / 2
        ratio = torch.tensor((1 - half) / half, dtype=torch.float64).log()
        middle = diffkit.Level(1 - half, half, ratio.item(), ratio.to(now.tensor))
        x_half = x / whole + (half - tau) * slope
        x0_half = denoise(x_half, middle)
        slope = (x_half - middle.alpha * x0_half) / middle.sigma - x0_half
        return (x / whole + (target - tau) * slope) * (then.alpha + then.sigma)


class PlainAdam:
    """Adam at a constant rate."""

    def __init__(self, lr: float = 2e-3):
        self.lr = lr

    def create(self, net):
        return torch.optim.Adam(net.parameters(), lr=self.lr)

    def rate(self, step, steps):
        return self.lr
