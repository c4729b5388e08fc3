"""Which times a training batch visits."""

import math

import torch
from torch import Generator, Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule

PICTURES = 0.5
"""The standard deviation of pictures in [-1, 1], as EDM takes it."""


class UniformTimes:
    """Independent times, uniform in [0, 1)."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        return torch.rand(n, generator=generator, dtype=torch.float64)


class StratifiedTimes:
    """Times uniform in [0, 1), spread evenly within a batch: t_i = (u + i/n) mod 1 with a single random u.

    The loss has the same mean as with independent times and a smaller variance. Kingma et al., "Variational Diffusion
    Models" (2021), appendix I.1.
    """

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        u = torch.rand(1, generator=generator, dtype=torch.float64)
        return (u + torch.arange(n, dtype=torch.float64) / n) % 1


class LogitNormalTimes:
    """Times whose logit is normal: those in the middle come more often.

    Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), section 3.1, where
    the schedule is ``flow``.

    Args:
        mean: the mean of log(t / (1 - t)); above 0 prefers more noise.
        std: its standard deviation.
    """

    def __init__(self, mean: float = 0.0, std: float = 1.0) -> None:
        check_std(std)
        self.mean, self.std = mean, std

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        return torch.sigmoid(self.mean + self.std * torch.randn(n, generator=generator, dtype=torch.float64))


class LogNormalTimes:
    """Times at which log(σ/α) is normal, whatever the schedule; beyond its ends they are moved to the ends.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1. The paper's
    mean is for pictures, whose standard deviation is 0.5; for data of standard deviation s, which noise drowns so much
    later, log(s / 0.5) is added.

    Args:
        mean: the mean of log(σ/α), P_mean in the paper, for data of standard deviation 0.5.
        std: its standard deviation, P_std.
        spec: what the network models, for s; 0.5 where there is none.
    """

    def __init__(self, mean: float = -1.2, std: float = 1.2, spec: DataSpec | None = None) -> None:
        check_std(std)
        self.mean = mean + (math.log(spec.std / PICTURES) if spec else 0.0)
        self.std = std

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        lam = -self.mean - self.std * torch.randn(n, generator=generator, dtype=torch.float64)
        noisy, clean = schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))
        return schedule.time(lam.clamp(noisy, clean)).clamp(0, 1)


def check_std(std: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless ``std`` is a standard deviation above 0."""
    if not 0 < std < float("inf"):
        raise DiffkitError(f"std={std} is not a standard deviation; give a number above 0, such as std=1")
