"""Calibration: the grid and the weights of ``exp_adams`` that a model's own trajectories ask for.

A pilot follows a few samples in hundreds of small steps. Grids of few steps are then walked along it, their weights
fitted on the way to some of the samples (see :mod:`diffkit_samplers.fitting`), and chosen from by how near to the
pilot's end all end: some grids that need no calibration, and some that spread the error of a fitted step, as the
pilot's own points show it without an evaluation, evenly. Weights and levels of the best are led nearer to the end by
gradients (see :mod:`diffkit_samplers.descent`), and the samples that none of this was fitted to judge what comes of it.

Where data is clusters, what decides is the few samples that a small error early on sends to another one. They are
found among many alone, and many vectors cost next to nothing.

Even spreading of a local error is de Boor, "Good Approximation by Splines with Variable Knots" (1973).
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.sampling import Denoise, Grid
from diffkit_samplers import descent
from diffkit_samplers.descent import Descent, descend
from diffkit_samplers.exp_adams import ExpAdams
from diffkit_samplers.fitting import LOOKS, Walk, fit, walk
from diffkit_samplers.grids.explicit import ExplicitGrid
from diffkit_samplers.grids.karras import KarrasGrid
from diffkit_samplers.grids.loglinear import LogLinearGrid
from diffkit_samplers.grids.rational import RationalGrid
from diffkit_samplers.pilot import Pilot

ORDER = 4
SHARES = (1.0, 0.3, 0.1, 0.03)
"""Below which σ/α, relative to the scale, an error is taken to reach the end; most data is thinner than it is wide."""
ROUNDS, HELD, GLANCE = 8, 1e-3, 2**12
PILOT = 400
FEWEST, FITTED = 32, 256
"""How few samples calibrate, and how many are fitted to, at most."""


@dataclass(frozen=True)
class Calibration:
    """What was found: sampler and grid, and the error at the end (root mean square, mean over samples).

    The error is that of samples that the weights were not fitted to.
    """

    sampler: ExpAdams
    grid: ExplicitGrid
    error: float


def samples(spec: DataSpec) -> int:
    """Return how many samples calibrate well, the fewer the larger they are: up to 64, and up to 1,024 vectors."""
    most, values = (64, 2**12) if spec.rank else (1024, 2**16)
    return min(most, max(FEWEST, values // spec.size))


def cost(steps: int, pilot_steps: int = PILOT) -> int:
    """Return how many evaluations of the denoiser :func:`calibrate` takes, at most."""
    return pilot_steps + steps * (len(_grids(1.0)) + len(SHARES)) + descent.cost(steps)


@torch.no_grad()
def calibrate(
    denoiser: Denoise, noise: Tensor, *, steps: int, scale: float, pilot_steps: int = PILOT, **cond: Tensor
) -> Calibration:
    """Return the ``exp_adams`` and the grid of ``steps`` steps that follow ``denoiser`` best.

    Args:
        denoiser: the model, guided as it will be sampled.
        noise: unit noise ``(batch, channels, *spatial)`` to calibrate on; see :func:`samples`, and not those to be
            drawn.
        steps: the number of steps.
        scale: the standard deviation of the data.
        pilot_steps: the number of steps of the pilot, many more than ``steps``.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: where the pilot is not much finer than what it is to judge, nothing is left to judge by, or the
            model's estimates are not finite.
    """
    if not 1 <= steps <= pilot_steps // 4:
        raise DiffkitError(f"steps={steps} cannot be calibrated; give 1 to {pilot_steps // 4}, such as steps=20")
    if len(noise) < 2:
        raise DiffkitError("one sample is fitted and nothing judges the fit; give 2 or more, such as 32")
    kept = min(FITTED, 3 * len(noise) // 4)
    pilot = Pilot.follow(denoiser, noise, pilot_steps, scale, cond)
    if not pilot.z[-1].isfinite().all():
        raise DiffkitError(
            "the model's own trajectories end in NaN or infinity, so that there is nothing to calibrate to; see what "
            "it draws: diffkit sample RUN"
        )
    sampler = ExpAdams(steps, min(ORDER, steps), scale)

    def walked(place: Tensor) -> Walk:
        return walk(denoiser, pilot, pilot.lams(place), sampler, fitted=slice(kept), cond=cond)

    def places(grid: Grid) -> Tensor:
        found = pilot.places(denoiser.schedule.lam(grid(denoiser.schedule, steps)))
        found[0] = 0  # a grid that starts below the pilot would start elsewhere
        return found

    candidates = [places(grid) for grid in _grids(scale)]
    candidates += [_spread(pilot, steps, share * scale) for share in SHARES]
    best = min(map(walked, candidates), key=_missed)
    start = Descent(best.rows, best.missed[kept:].mean().item())
    found = descend(denoiser, pilot, start, scale, fitted=slice(kept), judges=slice(kept, None), cond=cond)
    sampler = ExpAdams(steps, sampler.order, scale, found.rows)
    return Calibration(sampler, ExplicitGrid(lams=[row[0] for row in found.rows]), found.error)


def _missed(way: Walk) -> float:
    return way.missed.mean().item()


def _grids(scale: float) -> list[Grid]:
    """Return the grids that need no calibration."""
    rational = [RationalGrid(scale * c, p) for c in (0.5, 1.0) for p in (0.6, 0.8, 1.0)]
    return [*rational, KarrasGrid(), LogLinearGrid()]


def _spread(pilot: Pilot, steps: int, thin: float) -> Tensor:
    """Return the places of a grid whose steps err alike, by the pilot's own points; see :func:`_errors`."""
    edges, least = torch.arange(steps + 1, dtype=torch.float64) / steps, float("inf")
    best = edges
    for _ in range(ROUNDS):
        errors = _errors(pilot, _nearest(edges[:-1], len(pilot.x0)), thin)
        if errors.sum() < least:
            least, best = float(errors.sum()), edges
        wanted = (errors / errors.mean()).clamp(1e-4, 1e4) ** (0.7 / (min(ORDER, steps) + 1))
        padded = torch.cat((wanted[:1], wanted, wanted[-1:]))
        smooth = (padded[:-2] + 2 * padded[1:-1] + padded[2:]) / 4
        reached = torch.cat((smooth.new_zeros(1), smooth.cumsum(0)))
        goals = reached[-1] * torch.arange(1, steps, dtype=torch.float64) / steps
        after = torch.searchsorted(reached, goals).clamp(1, steps)
        inside = (goals - reached[after - 1]) / (reached[after] - reached[after - 1])
        edges = torch.cat((edges[:1], edges[after - 1].lerp(edges[after], inside), edges[-1:]))
    return best[:-1]


def _nearest(places: Tensor, n: int) -> list[int]:
    """Return the pilot's points nearest to ``places``, no two alike."""
    found = (places * n).round().long()
    rising = torch.arange(len(found))
    found = (found - rising).cummax(0).values + rising
    return (found - rising).clamp(max=n - len(found)).add(rising).tolist()


def _errors(pilot: Pilot, nodes: list[int], thin: float) -> Tensor:
    """Return the error of each step between ``nodes``, as far as it reaches the end, ``(steps,)``.

    It is what a fit leaves that may look at the estimate at the end of the step, too, since the next step will. An
    error at s = σ/α is taken to shrink by 1/√(1 + (s/s₀)²) on the way to clean data, as across Gaussian data of
    standard deviation s₀ = ``thin``.
    """
    s, errors = [*(-pilot.lam).exp().tolist(), 0.0], []
    for i, (here, then) in enumerate(zip(nodes, [*nodes[1:], len(pilot.x0)], strict=True)):
        points = torch.stack((pilot.z[here], *pilot.x0[nodes[i + 1 :: -1][:LOOKS]]))
        held = pilot.x0[here].lerp(pilot.z[here], s[then] / s[here])
        left = fit(points, pilot.z[then] - held, HELD, GLANCE)[1].mean()
        errors.append(left / (1 + (s[then] / thin) ** 2) ** 0.5)
    return torch.stack(errors)
