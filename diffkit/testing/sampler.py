"""The checks a sampler passes."""

import copy
from collections.abc import Callable

import torch
from torch import Tensor

from diffkit.contracts.sampling import Denoise, Sampler
from diffkit.contracts.schedule import Level, Schedule, levels
from diffkit.sampler import StepSampler, uniform_times
from diffkit.streams import Streams
from diffkit.testing.mixture import GaussianMixture, MixtureDenoiser


class _Schedule:
    """λ falls linearly from 8 to -8; α as a function of λ is where kinds of schedule differ."""

    def __init__(self, name: str, alpha: Callable[[Tensor], Tensor]) -> None:
        self.name, self._alpha = name, alpha

    def lam(self, t: Tensor) -> Tensor:
        return 8 - 16 * t

    def time(self, lam: Tensor) -> Tensor:
        return ((8 - lam) / 16).clamp(0, 1)

    def alpha(self, t: Tensor) -> Tensor:
        return self._alpha(self.lam(t))

    def sigma(self, t: Tensor) -> Tensor:
        return self.alpha(t) * torch.exp(-self.lam(t))


SCHEDULES = (
    _Schedule("variance-preserving", lambda lam: torch.sigmoid(2 * lam).sqrt()),
    _Schedule("straight", torch.sigmoid),
    _Schedule("variance-exploding", torch.ones_like),
)


class _Watched:
    """A denoiser that notes the levels at which it is asked."""

    def __init__(self, denoiser: Denoise) -> None:
        self.denoiser, self.schedule, self.null = denoiser, denoiser.schedule, denoiser.null
        self.visited: list[float] = []

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        assert at.sigma > 0, "the sampler evaluates the denoiser at σ=0, where there is nothing to remove"
        self.visited.append(at.lam)
        return self.denoiser(x, at, **cond)

    def moments(self, x: Tensor, at: Level, **cond: Tensor) -> tuple[Tensor, Tensor]:
        assert at.sigma > 0, "the sampler evaluates the denoiser at σ=0, where there is nothing to remove"
        self.visited.append(at.lam)
        return self.denoiser.moments(x, at, **cond)  # type: ignore[attr-defined]


MOST = 0.5
"""The largest tolerance that may be stated."""


def check_sampler(sampler: Sampler | type[Sampler]) -> None:
    """Raise ``AssertionError``, with a sentence that says what is wrong, unless ``sampler`` keeps its contract.

    On mixtures with an exact denoiser, under a variance-preserving, a straight and a variance-exploding schedule:
    samples are finite with 1, 2, 3, 5 and 20 steps and keep shape and dtype; the grid is followed; a sample is the same
    alone and in a batch, and the same again from the same streams; the noise is left as it was; and with many steps
    samples follow the distribution of the data. A sampler that states a ``tolerance`` chooses its levels itself: it
    follows the ends of the grid, and a sample is the same alone and in a batch to that tolerance.

    Args:
        sampler: the class, which is constructed with ``steps`` alone, or an instance with the options to check.
    """
    name = sampler.__name__ if isinstance(sampler, type) else type(sampler).__name__
    for schedule in SCHEDULES:
        where = f"{name} under a {schedule.name} schedule"
        _check_outputs(sampler, schedule, where)
        _check_streams(sampler, schedule, where)
        _check_convergence(sampler, schedule, where)


def _with_steps(sampler: Sampler | type[Sampler], steps: int) -> Sampler:
    if isinstance(sampler, type):
        return sampler(steps=steps)  # type: ignore[call-arg]
    sampler = copy.copy(sampler)
    sampler.steps = steps
    return sampler


def _tolerance(sampler: Sampler) -> float:
    tolerance = getattr(sampler, "tolerance", 0.0)
    assert tolerance < MOST, f"a tolerance of {tolerance:g} says nothing about data in [-1, 1]; keep it below {MOST:g}"
    return tolerance


def _noise(n: int, dim: int) -> Tensor:
    return torch.randn(n, dim, 1, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


class _ShorterGrid:
    """A grid unlike the default: from t=0.9 to a little above 0.1."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        return 0.9 - 0.8 * torch.arange(steps, dtype=torch.float64) / steps


def _check_outputs(sampler: Sampler | type[Sampler], schedule: Schedule, where: str) -> None:
    for steps in (1, 2, 3, 5, 20):
        for grid in (None, _ShorterGrid()):
            watched = _Watched(MixtureDenoiser(GaussianMixture.ring8(), schedule))
            noise = _noise(4, 2)
            before = noise.clone()
            walked = _with_steps(sampler, steps)
            own = walked.default_grid if isinstance(walked, StepSampler) else uniform_times
            x = walked(watched, noise, grid=grid, streams=Streams(0, range(4)))
            assert (x.shape, x.dtype) == (noise.shape, noise.dtype), (
                f"{where} returns {x.dtype} {tuple(x.shape)} for noise {noise.dtype} {tuple(noise.shape)}; "
                f"samples have the shape and dtype of the noise"
            )
            assert x.isfinite().all(), f"{where} returns NaN or infinity with {steps} steps"
            assert torch.equal(noise, before), f"{where} changes the noise it is given; it has to leave it as it was"
            asked = [level.lam for level in levels(schedule, (grid or own)(schedule, steps), like=noise)]
            asked = [asked[0], asked[-2]] if _tolerance(walked) else asked[:-1]
            missed = [lam for lam in asked if lam not in watched.visited]
            assert not missed, (
                f"{where} never evaluates the denoiser at λ={missed[0]:.4g}, where the grid of {steps} steps asks "
                f"it to; step on the times the grid returns, or uniformly in t without one"
            )


def _check_streams(sampler: Sampler | type[Sampler], schedule: Schedule, where: str) -> None:
    denoiser = MixtureDenoiser(GaussianMixture.soft3(), schedule)
    noise = _noise(5, 2)
    five = _with_steps(sampler, 8)
    x = five(denoiser, noise, streams=Streams(0, range(5)))
    assert torch.equal(x, five(denoiser, noise, streams=Streams(0, range(5)))), (
        f"{where} returns other samples the second time; with the same noise and streams they have to be the same"
    )
    alone = five(denoiser, noise[3:4], streams=Streams(0, [3]))
    assert torch.allclose(x[3:4], alone, rtol=0, atol=1e-9 + _tolerance(five)), (
        f"{where} returns another sample 3 in a batch of one than in a batch of five; draw fresh noise from the "
        f"streams, and let no sample depend on another"
    )


def _check_convergence(sampler: Sampler | type[Sampler], schedule: Schedule, where: str) -> None:
    mixture = GaussianMixture.soft3()
    data = mixture.sample(4000, torch.Generator().manual_seed(1))
    floor = _distance(mixture.sample(2000, torch.Generator().manual_seed(2)), data)
    few, many = (_distance(_drawn(_with_steps(sampler, steps), mixture, schedule), data) for steps in (4, 100))
    assert many < 2.5 * floor, (
        f"{where} is {few:.3f} away from the data with 4 steps and {many:.3f} with 100 (exact draws: {floor:.3f}); "
        f"with many steps samples follow the distribution of the data"
    )


def _drawn(sampler: Sampler, mixture: GaussianMixture, schedule: Schedule) -> Tensor:
    """Return 2000 samples, with fresh noise from torch's own generator: one stream a sample would take long."""
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(3)  # not the seed of the noise it starts from
        return sampler(MixtureDenoiser(mixture, schedule), _noise(2000, 2)).flatten(1)


def _distance(a: Tensor, b: Tensor) -> float:
    """Return the Wasserstein-1 distance of two sets of points ``(n, 2)``, averaged over eight directions."""
    angles = torch.arange(8, dtype=torch.float64) * torch.pi / 8
    directions = torch.stack((angles.cos(), angles.sin()))
    ranks = torch.linspace(0.002, 0.998, 500, dtype=torch.float64)
    quantiles = [torch.quantile(points @ directions, ranks, dim=0) for points in (a, b)]
    return (quantiles[0] - quantiles[1]).abs().mean().item()
