"""EDM's stochastic sampler."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import exp, log, sqrt
from typing import Any

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, Streams, levels_at
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.ancestral import not_negative, towards_data
from diffkit_samplers.heun import Heun
from diffkit_samplers.staged import Stages


@dataclass(frozen=True, slots=True, eq=False)
class Raised(Level):
    """A level of the grid with noise added, and the one it was."""

    before: Level


class EDM(Heun):
    """Noise is added before each step, and the step then starts from the higher level: Heun's method from there.

    With s = σ/α, and fresh noise n,

        ŝ = (1 + γ) s,        x̂ = x + α √(ŝ² - s²) S_noise n,        γ = min(S_churn/steps, √2 - 1)

    where s is between S_tmin and S_tmax, and γ = 0 elsewhere. Karras et al., "Elucidating the Design Space of
    Diffusion-Based Generative Models" (2022), algorithm 2; but Heun's method is that of ``heun``, which is this with
    S_churn=0, and nothing rises above the first level of the grid, beyond which no network was trained. Order 2 in
    distribution where S_noise is 1. Two evaluations a step, but one in the last, to σ=0, which is Euler's.

    Args:
        steps: the number of steps.
        s_churn: S_churn, how much noise is added, shared out among the steps that are walked, which are fewer where
            only a part of the way is; 0 is deterministic.
        s_tmin: S_tmin, the least s that is raised.
        s_tmax: S_tmax, the greatest.
        s_noise: S_noise; the authors take 1.003 to 1.007 for networks that remove a little too much.
    """

    def __init__(
        self,
        steps: int = 20,
        s_churn: float = 40.0,
        s_tmin: float = 0.05,
        s_tmax: float = 50.0,
        s_noise: float = 1.0,
    ) -> None:
        super().__init__(steps)
        not_negative(s_churn=s_churn, s_tmin=s_tmin, s_noise=s_noise)
        if s_tmax < s_tmin:
            raise DiffkitError(
                f"s_tmin={s_tmin:g} and s_tmax={s_tmax:g} are not an interval of noise levels; give s_tmin below "
                f"s_tmax, such as s_tmin=0.05 s_tmax=50"
            )
        self.s_churn, self.s_tmin, self.s_tmax, self.s_noise = s_churn, s_tmin, s_tmax, s_noise

    def raised(self, path: Sequence[Level]) -> list[Level]:
        """Return the levels that steps start from, and the last of ``path``."""
        return _raised(tuple(path), min(self.s_churn / (len(path) - 1), sqrt(2) - 1), self.s_tmin, self.s_tmax)

    def integrate(
        self, denoiser: Denoise, x: Tensor, path: Sequence[Level], *, streams: Streams | None = None, **cond: Tensor
    ) -> Tensor:
        """Return ``x``, which is at ``path[0]``, carried along ``path`` to its last level."""
        return super().integrate(denoiser, x, self.raised(path), streams=streams, **cond)

    def prepare(self, path: Sequence[Level]) -> list[Stages]:
        """Return the stages of each step, to the level that the next start was raised from."""
        return self.plans(path[:-1], [at.before if isinstance(at, Raised) else at for at in path[1:]])

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, draw: Callable[[], Tensor], **common: Any
    ) -> Tensor:
        """Return the sample at level ``then``, by way of the level it was raised from."""
        x = super().step(x, x0, now, then, **common)
        if not isinstance(then, Raised):
            return x
        return x.add_(draw(), alpha=self.s_noise * sqrt(then.sigma**2 - then.before.sigma**2))


@lru_cache(maxsize=8)
def _raised(path: tuple[Level, ...], gamma: float, s_tmin: float, s_tmax: float) -> list[Level]:
    """Return the same levels where it is asked for them again, so that what is prepared for them serves again."""
    chosen = [i for i in range(1, len(path) - 1) if gamma and s_tmin <= path[i].ratio <= s_tmax]
    if not chosen:
        return list(path)
    towards_data(path)
    lams = [max(path[i].lam - log(1 + gamma), path[0].lam) for i in chosen]
    starts = list(path)
    with torch.inference_mode(False):
        for i, high in zip(chosen, levels_at(lams, like=path[0].tensor), strict=True):
            sigma = path[i].sigma * exp(path[i].lam - high.lam)
            starts[i] = Raised(path[i].alpha, sigma, high.lam, high.tensor, path[i])
    return starts
