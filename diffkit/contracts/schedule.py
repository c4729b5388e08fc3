"""Noise schedules: how much of the data and how much noise there is at time t.

Time t runs from 0 (clean) to 1 (noise) and the forward process is the Gaussian

    p(x_t | x_0) = N(α(t) x_0, σ(t)² I),        λ(t) = log(α(t) / σ(t)),

with λ strictly decreasing. λ is half the log signal-to-noise ratio of Kingma et al., "Variational Diffusion
Models" (2021). Every solver, prediction and weighting is written in (α, σ, λ) and so works with every schedule.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, hypot, inf
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor


@runtime_checkable
class Schedule(Protocol):
    """A noise schedule. Every method is elementwise, differentiable, and keeps shape, dtype and device.

    diffkit calls these in float64 on the host, once a batch in training and once a run in sampling. α and σ are
    positive and finite on all of [0, 1]: a schedule whose λ is infinite at an end cuts a little off that end.
    """

    def alpha(self, t: Tensor) -> Tensor:
        """Return the scale α of the data at times ``t`` in [0, 1]."""
        ...

    def sigma(self, t: Tensor) -> Tensor:
        """Return the standard deviation σ of the noise at times ``t`` in [0, 1]."""
        ...

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = log(α/σ), computed without the cancellation that dividing α by σ could bring."""
        ...

    def time(self, lam: Tensor) -> Tensor:
        """Return the time t at which λ(t) = ``lam``; the exact inverse of :meth:`lam`."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Level:
    """A noise level: its coefficients as host floats, and λ as a 0-d tensor where the network lives."""

    alpha: float
    sigma: float
    lam: float
    tensor: Tensor

    @property
    def ratio(self) -> float:
        """The noise-to-signal ratio σ/α, which EDM and k-diffusion call sigma."""
        return self.sigma / self.alpha


def levels(schedule: Schedule, times: Tensor, *, like: Tensor) -> list[Level]:
    """Return the noise levels at ``times`` (float64, on the host), followed by the clean level α=1, σ=0.

    The λ of all levels is copied to the device and dtype of ``like`` in one transfer, so that a sampling loop
    neither allocates nor synchronises for it. While the schedule gives the same numbers, the levels are the same
    objects, so that what was found for them can be kept by them.
    """
    times = times.to("cpu", torch.float64)
    columns = (tuple(value.tolist()) for value in (schedule.alpha(times), schedule.sigma(times), schedule.lam(times)))
    return list(_levels(*columns, like.dtype, like.device))


@lru_cache(maxsize=16)
def _levels(
    alpha: tuple[float, ...], sigma: tuple[float, ...], lam: tuple[float, ...], dtype: torch.dtype, device: torch.device
) -> list[Level]:
    with torch.inference_mode(False):  # they may be asked for again where gradients are wanted
        on_device = torch.tensor((*lam, inf), dtype=torch.float64).to(device, dtype).unbind()
    return list(map(Level, (*alpha, 1.0), (*sigma, 0.0), (*lam, inf), on_device))


def levels_at(lams: Sequence[float], *, like: Tensor) -> list[Level]:
    """Return the noise levels of ``lams`` with α² + σ² = 1, whatever the schedule: for solvers, within their steps.

    What a denoiser answers at α z_0 + σ ε depends on λ alone once α is divided out, so a solver that wants to stop
    between two levels of a schedule may choose α as it likes.
    """
    lams = [float(lam) for lam in lams]
    ratios = [exp(-lam) for lam in lams]
    alphas = [1 / hypot(1, ratio) for ratio in ratios]
    sigmas = [ratio * alpha for ratio, alpha in zip(ratios, alphas, strict=True)]
    return list(map(Level, alphas, sigmas, lams, torch.tensor(lams, dtype=like.dtype, device=like.device).unbind()))


def derivatives(schedule: Schedule, t: Tensor) -> tuple[Tensor, Tensor]:
    """Return dα/dt and dσ/dt at ``t``, by automatic differentiation of the schedule's own formulas."""
    with torch.enable_grad():
        t = t.detach().requires_grad_()
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        d_alpha, d_sigma = (
            torch.autograd.grad(value.sum(), t, retain_graph=True, allow_unused=True)[0]
            if value.requires_grad
            else None
            for value in (alpha, sigma)
        )
    zero = torch.zeros_like(t)
    return (zero if d_alpha is None else d_alpha), (zero if d_sigma is None else d_sigma)
