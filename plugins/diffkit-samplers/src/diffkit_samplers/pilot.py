"""The pilot of a calibration: a few of a model's own trajectories, followed in hundreds of small steps."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, levels
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.exp_adams import ExpAdams
from diffkit_samplers.grids.rational import RationalGrid

ENOUGH = 2**16
"""How many values of all samples are kept at each level, and looked at: there are a handful of weights to find."""


@dataclass(frozen=True)
class Pilot:
    """Trajectories, known at many levels and, between them, by Hermite's cubic, as dz/dλ = D - z is known, too.

    Attributes:
        lam: λ of the noisy levels ``(n,)``, float64 on the host.
        start: the samples over α at the first of them, ``(batch, …)``.
        every: of samples at other levels each so many-th value is kept.
        z: the samples over α at each level and, last, where they end, ``(n + 1, batch, values)``.
        x0: the estimates, ``(n, batch, values)``.
    """

    lam: Tensor
    start: Tensor
    every: int
    z: Tensor
    x0: Tensor

    @classmethod
    def follow(cls, denoiser: Denoise, noise: Tensor, steps: int, scale: float, cond: dict[str, Tensor]) -> "Pilot":
        """Return the trajectories of ``denoiser`` from unit ``noise``, in ``steps`` steps."""
        path = levels(denoiser.schedule, RationalGrid(scale, 0.5)(denoiser.schedule, steps), like=noise)
        every = -(-noise.numel() // ENOUGH)
        recorder, x = _Recorder(steps, 4, scale, every), path[0].sigma * noise
        end = recorder.integrate(denoiser, x, path, streams=None, **cond)
        z, x0 = zip(*recorder.points, strict=True)
        lam = torch.tensor([level.lam for level in path[:-1]], dtype=torch.float64)
        return cls(lam, x / path[0].alpha, every, torch.stack((*z, thinned(end, every))), torch.stack(x0))

    def at(self, lam: float) -> Tensor:
        """Return the values that are kept of the samples over α, at level ``lam``, which may be infinite."""
        after = int(torch.searchsorted(self.lam, lam))
        if after == len(self.lam):
            return self.z[-1] if lam == float("inf") else self.z[after - 1]
        i = max(1, after) - 1
        h = float(self.lam[i + 1] - self.lam[i])
        t = (lam - float(self.lam[i])) / h
        (a, b), (da, db) = self.z[i : i + 2], h * (self.x0[i : i + 2] - self.z[i : i + 2])
        return a.lerp(b, t**2 * (3 - 2 * t)) + t * (1 - t) * ((1 - t) * da - t * db)

    def places(self, lam: Tensor) -> Tensor:
        """Return where levels are among those of the pilot: 0 at the first, 1 at the clean one."""
        lam = lam.clamp(self.lam[0], self.lam[-1])
        after = torch.searchsorted(self.lam, lam).clamp(1, len(self.lam) - 1)
        share = (lam - self.lam[after - 1]) / (self.lam[after] - self.lam[after - 1])
        return (after - 1 + share) / len(self.lam)

    def lams(self, places: Tensor) -> Tensor:
        """Return the λ at ``places``, the inverse of :meth:`places`."""
        at = (places * len(self.lam)).clamp(0, len(self.lam) - 1)
        before = at.floor().long().clamp(max=len(self.lam) - 2)
        return self.lam[before].lerp(self.lam[before + 1], at - before)


class _Recorder(ExpAdams):
    """Remembers where it went."""

    def __init__(self, steps: int, order: int, scale: float, every: int) -> None:
        super().__init__(steps, order, scale)
        self.every = every
        self.points: list[tuple[Tensor, Tensor]] = []

    def step(self, x: Tensor, x0: Tensor, now: Level, then: Level, **rest: Any) -> Tensor:
        """Return the sample at level ``then``."""
        self.points.append((thinned(x, self.every) / now.alpha, thinned(x0, self.every).contiguous()))
        return super().step(x, x0, now, then, **rest)


def thinned(x: Tensor, every: int) -> Tensor:
    """Return each ``every``-th value of the items ``(batch, …)``."""
    return x.flatten(1)[:, ::every]
