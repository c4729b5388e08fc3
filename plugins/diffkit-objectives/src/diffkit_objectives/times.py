"""Which times a training batch visits.

Every distribution also has its quantile function: ``quantile(u, schedule)`` are the times below which a share u of all
lie, so that u uniform in [0, 1) gives times of the distribution. The mean loss of a weighting w under a density p of λ
is that of w p/q under a density q: what counts is their product.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Protocol

import torch
from torch import Generator, Tensor

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.schedule import Schedule

PICTURES = 0.5
"""The standard deviation of pictures in [-1, 1], as EDM takes it."""


class Quantiles(Protocol):
    """A distribution of times that has a quantile function."""

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        ...


class _Inverse(ABC):
    """Independent times, drawn by the quantile function."""

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        return self.quantile(torch.rand(n, generator=generator, dtype=torch.float64), schedule)

    @abstractmethod
    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""


class UniformTimes(_Inverse):
    """Independent times, uniform in [0, 1)."""

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        return u


class UniformLamTimes(_Inverse):
    """Times at which λ is uniform between the ends of the schedule, whatever the schedule.

    With ``weighting=snr`` or ``elbo`` the mean loss is the evidence lower bound; see :class:`ELBOWeighting`.
    """

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        noisy, clean = ends(schedule)
        return schedule.time(clean + u * (noisy - clean)).clamp(0, 1)


class ModeTimes(_Inverse):
    """Times with a mode in the middle, or the opposite: with u uniform and v = 1 - u,

        t = 1 - v - s (cos²(πv/2) - 1 + v).

    Esser et al., "Scaling Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), eq. 20, where the
    schedule is ``flow``.

    Args:
        scale: s, from -1 to 2/(π-2) = 1.75: above 0 prefers the middle, below the ends; 0 is uniform.
    """

    def __init__(self, scale: float = 1.29) -> None:
        if not -1 <= scale <= 2 / (math.pi - 2):
            raise DiffkitError(f"scale={scale} is out of range; give a number from -1 to 1.75, such as scale=1.29")
        self.scale = scale

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        return (u - self.scale * (torch.sin(math.pi / 2 * u) ** 2 - u)).clamp(0, 1)


class LaplaceTimes(_Inverse):
    """Times at which λ has a Laplace distribution, cut off at the ends of the schedule:

        p(λ) ∝ exp(-|λ + log s - μ| / b),    s the standard deviation of the data.

    Hang et al., "Improved Noise Schedule for Diffusion Training" (2024), table 1. Their λ is the log SNR, twice this,
    so that their b = 0.5 is b = 0.25 here.

    Args:
        mean: μ, the log of the ratio of signal to noise, each by its standard deviation, that comes most often.
        scale: b, the mean distance from it.
        spec: what the network models, for s; 1 where there is none.
    """

    def __init__(self, mean: float = 0.0, scale: float = 0.25, spec: DataSpec | None = None) -> None:
        if not 0 < scale < float("inf"):
            raise DiffkitError(f"scale={scale} is not a distance; give a number above 0, such as scale=0.25")
        self.mean, self.scale = mean - (math.log(spec.std) if spec else 0.0), scale

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        noisy, clean = ends(schedule)
        mean = clean.clamp(max=self.mean).clamp(min=noisy)  # beyond an end, what is left of a tail is the same
        low, high = (noisy - mean) / self.scale, (clean - mean) / self.scale
        below, above = low.exp() / 2, (-high).exp() / 2
        share = above + u * (1 - below - above)  # of what lies above λ, before the ends are cut off
        x = torch.where(share > 0.5, (2 - 2 * share).log(), -(2 * share).log()).clamp(low, high)
        return schedule.time(mean + self.scale * x).clamp(0, 1)


class StratifiedTimes:
    """Times of another distribution, spread evenly within a batch: its quantiles of (u + i/n) mod 1, with one random u.

    The loss has the same mean as with independent times and a smaller variance. Kingma et al., "Variational Diffusion
    Models" (2021), appendix I.1, for uniform times.

    Args:
        base: the distribution: its name, a mapping of its name and options, or itself.
        spec: what the network models.
    """

    def __init__(self, base: str | Mapping[str, Any] | Quantiles = "uniform", spec: DataSpec | None = None) -> None:
        self.base: Quantiles = build("times", base, spec=spec) if isinstance(base, str | Mapping) else base
        if not hasattr(self.base, "quantile"):
            raise DiffkitError(
                f"base={base} has no quantile function and cannot be stratified; give another, such as base=lognormal"
            )

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        u = torch.rand(1, generator=generator, dtype=torch.float64)
        return self.base.quantile((u + torch.arange(n, dtype=torch.float64) / n) % 1, schedule)


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
        return self._at(torch.randn(n, generator=generator, dtype=torch.float64))

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        return self._at(torch.special.ndtri(u))

    def _at(self, z: Tensor) -> Tensor:
        return torch.sigmoid(self.mean + self.std * z)


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
        return self._at(torch.randn(n, generator=generator, dtype=torch.float64), schedule)

    def quantile(self, u: Tensor, schedule: Schedule) -> Tensor:
        """Return the times below which a share ``u`` of all lie."""
        return self._at(torch.special.ndtri(u), schedule)

    def _at(self, z: Tensor, schedule: Schedule) -> Tensor:
        noisy, clean = ends(schedule)
        return schedule.time((-self.mean - self.std * z).clamp(noisy, clean)).clamp(0, 1)


def ends(schedule: Schedule) -> Tensor:
    """Return λ at the noisiest and at the cleanest level, ``(2,)``."""
    return schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))


def check_std(std: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless ``std`` is a standard deviation above 0."""
    if not 0 < std < float("inf"):
        raise DiffkitError(f"std={std} is not a standard deviation; give a number above 0, such as std=1")
