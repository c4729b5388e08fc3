"""Restart sampling."""

from collections.abc import Sequence
from math import log, sqrt

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level, StepSampler, Streams, summed
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.ancestral import not_negative, towards_data
from diffkit_samplers.bases import Base, Continued, built


class Restart(StepSampler):
    """Another solver, and an interval of noise levels walked again and again, each time with fresh noise.

    From the lower end s' of the interval to the upper s the forward process goes in one leap, with s = σ/α, z = x/α and
    n fresh noise,

        z = z' + √(s² - s'²) n,

    from where the solver goes back down. The noise covers errors made above, and the solver adds few of its own. Xu et
    al., "Restart Sampling for Improving Generative Processes" (2023), algorithm 1. The ends are the nearest noisy
    levels of the grid, at least one step apart, so that a grid of one step has nothing to repeat. The steps within the
    interval are evaluated ``repeats`` times more, and the solver starts each time without history.

    Args:
        steps: the number of steps of the grid.
        base: the solver: its name, a mapping of its name and options, or a :class:`~diffkit.StepSampler`.
        repeats: how often the interval is walked again, K of the paper.
        sigma_min: the lower end of the interval, in σ/α.
        sigma_max: its upper end.
        spec: what the model sees, for a solver that asks.
    """

    def __init__(
        self,
        steps: int = 20,
        base: Base = "heun",
        repeats: int = 2,
        sigma_min: float = 0.06,
        sigma_max: float = 0.3,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(steps)
        not_negative(repeats=repeats)
        if not 0 < sigma_min < sigma_max:
            raise DiffkitError(
                f"sigma_min={sigma_min:g} and sigma_max={sigma_max:g} are not the ends of an interval of noise levels; "
                f"give 0 < sigma_min < sigma_max, such as sigma_min=0.06 sigma_max=0.3"
            )
        self.base = built(base, steps, spec)
        self.tolerance = self.base.tolerance
        self.repeats, self.sigma_min, self.sigma_max = repeats, sigma_min, sigma_max

    def interval(self, path: Sequence[Level]) -> tuple[int, int]:
        """Return the first and the last level of ``path`` within the interval."""
        noisy = torch.tensor([level.lam for level in path if level.sigma], dtype=torch.float64)
        first, last = (int((noisy + log(s)).abs().argmin()) for s in (self.sigma_max, self.sigma_min))
        first = max(min(first, len(noisy) - 2), 0)
        return first, max(last, min(first + 1, len(noisy) - 1))

    def integrate(
        self, denoiser: Denoise, x: Tensor, path: Sequence[Level], *, streams: Streams | None = None, **cond: Tensor
    ) -> Tensor:
        """Return ``x``, which is at ``path[0]``, carried along ``path`` to its last level."""
        first, last = self.interval(path)
        if not self.repeats or first == last:
            return self.base.integrate(denoiser, x, path, streams=streams, **cond)
        towards_data(path)
        low, high = path[last], path[first]
        fresh = high.alpha * sqrt(high.ratio**2 - low.ratio**2)
        streams = None if streams is None else Continued(streams)
        for piece in [path[: last + 1], *[path[first : last + 1]] * (self.repeats - 1)]:
            x = self.base.integrate(denoiser, x, piece, streams=streams, **cond)
            noise = torch.randn_like(x) if streams is None else streams.draw(tuple(x.shape[1:]), 0, like=x)
            x = summed((high.alpha / low.alpha, fresh), (x, noise))
        return self.base.integrate(denoiser, x, path[first:], streams=streams, **cond)
