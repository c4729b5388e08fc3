"""Calibration: the order and the grid of ``exp_adams`` that a model's own trajectories ask for.

A pilot follows a few samples in hundreds of small steps. Along it every step that a grid of few steps would take can be
taken from the pilot's own points, and its error be seen without an evaluation. Grids that spread this error evenly, and
some that need no calibration, are then tried on the pilot's noise; the one that ends nearest to the pilot's end is
kept, mixed with its runners-up as long as that brings it nearer.

Even spreading of a local error is de Boor, "Good Approximation by Splines with Variable Knots" (1973).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, generator, levels
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.exp_adams import ExpAdams
from diffkit_samplers.grids.explicit import ExplicitGrid
from diffkit_samplers.grids.karras import KarrasGrid
from diffkit_samplers.grids.loglinear import LogLinearGrid
from diffkit_samplers.grids.rational import RationalGrid

ORDERS = (2, 3, 4)
SHARES = (1.0, 0.3, 0.1, 0.03)
"""Below which σ/α, relative to the scale, an error is taken to reach the end; most data is thinner than it is wide."""
ROUNDS, MIXED, MIXTURES = 12, 4, 48


@dataclass(frozen=True)
class Pilot:
    """A trajectory in many small steps: its levels, the samples at each and at the end, and the estimates."""

    path: list[Level]
    x: Tensor
    x0: Tensor

    @property
    def lam(self) -> Tensor:
        """λ of the noisy levels, float64 on the host."""
        return torch.tensor([level.lam for level in self.path[:-1]], dtype=torch.float64)


@dataclass(frozen=True)
class Calibration:
    """What was found: sampler and grid, the error at the end (root mean square, mean over samples), the calls spent."""

    sampler: ExpAdams
    grid: ExplicitGrid
    error: float
    evaluations: int


class _Recorder(ExpAdams):
    """Remembers where it went."""

    def integrate(self, denoiser: Denoise, x: Tensor, path: list[Level], **cond: Tensor) -> Tensor:
        self.points: list[tuple[Tensor, Tensor]] = []
        return super().integrate(denoiser, x, path, **cond)

    def step(self, x: Tensor, x0: Tensor, *args: object, **kwargs: object) -> Tensor:
        self.points.append((x, x0))
        return super().step(x, x0, *args, **kwargs)


def calibrate(
    denoiser: Denoise, noise: Tensor, *, steps: int, scale: float, pilot_steps: int = 400, **cond: Tensor
) -> Calibration:
    """Return the ``exp_adams`` and the grid of ``steps`` steps that follow ``denoiser`` best.

    Args:
        denoiser: the model, guided as it will be sampled.
        noise: unit noise ``(batch, channels, *spatial)`` to calibrate on; 8 to 64 samples, not those to be drawn.
        steps: the number of steps.
        scale: the standard deviation of the data.
        pilot_steps: the number of steps of the pilot, many more than ``steps``.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: where the pilot is not much finer than what it is to judge.
    """
    if not 1 <= steps <= pilot_steps // 4:
        raise DiffkitError(f"steps={steps} cannot be calibrated; give 1 to {pilot_steps // 4}, such as steps=20")
    schedule = denoiser.schedule
    times = RationalGrid(scale, 0.5)(schedule, pilot_steps)
    path = levels(schedule, times, like=noise)
    recorder = _Recorder(pilot_steps, 4, scale)
    start = path[0].sigma * noise
    end = recorder.integrate(denoiser, start, path, **cond)
    pilot = Pilot(
        path, torch.stack([x for x, _ in recorder.points] + [end]), torch.stack([d for _, d in recorder.points])
    )

    def places(grid: Callable[..., Tensor]) -> Tensor:
        return _places(pilot.lam, schedule.lam(grid(schedule, steps)).clamp(pilot.lam[0], pilot.lam[-1]))

    orders = [order for order in ORDERS if order <= steps] or [steps]
    plain = [RationalGrid(scale * c, p) for c in (0.5, 1.0) for p in (0.6, 0.8, 1.0)]
    candidates = [(order, places(grid)) for order in orders for grid in (*plain, KarrasGrid(), LogLinearGrid())]
    candidates += [(order, _spread(pilot, steps, order, scale, share)) for order in orders for share in SHARES]
    evaluations = pilot_steps

    def tried(order: int, place: Tensor) -> float:
        nonlocal evaluations
        evaluations += steps
        nodes = levels(schedule, schedule.time(_lams(pilot.lam, place)), like=noise)
        x = ExpAdams(steps, order, scale).integrate(denoiser, start, nodes, **cond)
        return (x - end).flatten(1).square().mean(1).sqrt().mean().item()

    ranked = sorted(((tried(*candidate), *candidate) for candidate in candidates), key=lambda row: row[0])
    random = generator("calibrate")
    best = ranked[0]
    for _ in range(MIXTURES):
        share = torch.rand(MIXED, generator=random, dtype=torch.float64)
        share[0] += 1
        rows = torch.stack([row[2] for row in (best, *ranked[1:MIXED])])
        mixed = share / share.sum() @ rows
        error = tried(best[1], mixed)
        if error < best[0]:
            best = (error, best[1], mixed)
    error, order, place = best
    grid = ExplicitGrid(lams=_lams(pilot.lam, place).tolist())
    return Calibration(ExpAdams(steps, order, scale), grid, error, evaluations)


def _places(pilot: Tensor, lam: Tensor) -> Tensor:
    """Return where ``lam`` is among the pilot's levels: 0 at the first, 1 at the clean one."""
    after = torch.searchsorted(pilot, lam).clamp(1, len(pilot) - 1)
    share = (lam - pilot[after - 1]) / (pilot[after] - pilot[after - 1])
    return (after - 1 + share) / len(pilot)


def _lams(pilot: Tensor, places: Tensor) -> Tensor:
    """Return the λ at ``places``, the inverse of :func:`_places`."""
    at = (places * len(pilot)).clamp(0, len(pilot) - 1)
    before = at.floor().long().clamp(max=len(pilot) - 2)
    return pilot[before].lerp(pilot[before + 1], at - before)


def _spread(pilot: Pilot, steps: int, order: int, scale: float, share: float) -> Tensor:
    """Return the places of a grid whose steps err alike, by the pilot's own points."""
    edges, least = torch.arange(steps + 1, dtype=torch.float64) / steps, float("inf")
    best = edges
    for _ in range(ROUNDS):
        errors = _errors(pilot, _nearest(edges[:-1], len(pilot.x0)), order, scale, share)
        if errors.sum() < least:
            least, best = float(errors.sum()), edges
        wanted = (errors / errors.mean()).clamp(1e-4, 1e4) ** (0.7 / (order + 1))
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


def _errors(pilot: Pilot, nodes: list[int], order: int, scale: float, share: float) -> Tensor:
    """Return the error of each step between ``nodes``, as far as it reaches the end, ``(steps,)`` on the host.

    A step that is corrected is judged as corrected. An error at s = σ/α is taken to shrink by 1/√(1 + (s/s₀)²) on the
    way to clean data, as across Gaussian data of standard deviation s₀ = ``share`` · ``scale``.
    """
    path = [*(pilot.path[i] for i in nodes), pilot.path[-1]]
    plans = ExpAdams(len(nodes), order, scale).prepare(path)
    missed = []
    for i, (here, then) in enumerate(zip(nodes, [*nodes[1:], len(pilot.x0)], strict=True)):
        estimates = [(b, nodes[i - j]) for j, b in enumerate(plans[i].x0)]
        if i + 1 < len(nodes):
            estimates += [(b, nodes[i + 1 - j]) for j, b in enumerate(plans[i + 1].corrector)]
        reached = plans[i].x * pilot.x[here] + sum(b * pilot.x0[at] for b, at in estimates)
        missed.append((reached - pilot.x[then]).flatten(1).norm(dim=1).mean())
    shrunk = [at.alpha * (1 + (at.ratio / (share * scale)) ** 2) ** 0.5 for at in path[1:]]
    return torch.stack(missed).to("cpu", torch.float64) / torch.tensor(shrunk, dtype=torch.float64)
