"""Solvers at equal numbers of evaluations: how far each ends from the exact end of the same trajectory.

    python benchmarks/solvers.py [RUN ...] [--problem FILE ...] [--nfe N ...] [--peers] [--json]

On the Gaussian mixtures soft3 and ring8, whose denoiser is exact, on those described by FILE, and on trained runs (a
folder, or last), against a solution in 1,200 steps, for runs in 400. All start at the same draws of x at the first
level and end at σ=0, and each evaluation of the denoiser counts. The error is the mean over samples of the distance;
for runs, divided by the root of the number of values of a sample.

The default setting is `exp_adams`, calibrated to the problem by `calibrate` on as many samples as `diffkit calibrate`
takes, which are not those that are scored; "uncalibrated" is `exp_adams` on the grid `rational` as they come. The
others are diffkit's, each on each grid; with --peers also those of other libraries, where they are installed. A FILE is
JSON: {"weights": [k], "means": [k][d], "covariances": [k] or [k][d] or [k][d][d]}, and may have "sigma_max" and
"sigma_min".
With --json the last line is a list of {problem, solver, grid, nfe, error}, where "default": true marks the default.
"""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffkit_samplers import (
    LMS,
    DPMpp2M,
    ExpAdams,
    Heun,
    KarrasGrid,
    LogLinearGrid,
    RationalGrid,
    TableGrid,
    UniPC,
    calibrate,
)
from diffkit_samplers.calibration import samples
from diffkit_schedules import EDM, Linear
from torch import Tensor

import diffkit
from diffkit import DataSpec, DiffkitError, generator, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser

SIGMA_MIN, SIGMA_MAX = 0.0100013, 157.407
"""The ends of DDPM's linear table, where published comparisons on mixtures step."""
REFERENCE, CONVERGED = 1200, 400
"""Steps to the exact end: of mixtures, and of networks, which in single precision gain nothing from more."""
SCORED, FEWEST = 4096, 64
"""A run is scored on as many samples as have this many values, but on no fewer than that."""
BEYOND = 1e-2
"""How far below the last σ of the other solvers the schedule goes on: levels that only the calibrated grid visits."""


@dataclass
class Problem:
    """A denoiser, samples at its first level to score and to calibrate on, the exact ends, and the data's scale."""

    name: str
    denoiser: Any
    x: Tensor
    pilot: Tensor
    cond: dict[str, Tensor]
    pilot_cond: dict[str, Tensor]
    scale: float
    sigma_min: float
    sigma_max: float
    root: float
    reference: int

    def __post_init__(self) -> None:
        """Find the exact ends."""
        reference = ExpAdams(self.reference, 4, self.scale)
        self.end = self.run(reference, RationalGrid(self.scale, 0.5))

    def run(self, sampler: Any, grid: Any) -> Tensor:
        """Return where ``sampler`` ends on ``grid``."""
        path = levels(self.denoiser.schedule, grid(self.denoiser.schedule, sampler.steps), like=self.x)
        return sampler.integrate(self.denoiser, path[0].alpha * self.x, path, **self.cond)

    def error(self, end: Tensor) -> float:
        """Return the mean distance of ``end`` from the exact end."""
        return (end - self.end).flatten(1).norm(dim=1).mean().item() / self.root


def of_mixture(name: str, mixture: GaussianMixture, n: int, first: float, last: float) -> Problem:
    """Return the problem of a mixture, in float64, from exact draws of the marginal at σ = ``first``."""

    def draw(*key: str, count: int) -> Tensor:
        random = generator("solvers", name, *key)
        noise = torch.randn(count, mixture.dim, generator=random, dtype=torch.float64)
        return mixture.sample(count, random) + first * noise

    denoiser = MixtureDenoiser(mixture, EDM(BEYOND * last, first))
    scale = mixture.covariance().diagonal().mean().sqrt().item()
    scored, pilot = draw("score", count=n), draw("pilot", count=samples(DataSpec(mixture.dim, ())))
    return Problem(name, denoiser, scored, pilot, {}, {}, scale, last, first, root=1.0, reference=REFERENCE)


def of_file(path: Path, n: int) -> Problem:
    """Return the problem that a JSON file describes."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"))
        mixture = GaussianMixture(given["weights"], given["means"], given["covariances"])
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DiffkitError(f"{path} describes no Gaussian mixture ({error}); see --help for its form") from error
    return of_mixture(path.stem, mixture, n, given.get("sigma_max", SIGMA_MAX), given.get("sigma_min", SIGMA_MIN))


def of_run(word: str, n: int) -> Problem:
    """Return the problem of a trained run: its denoiser unguided, all labels in turn, from σ/α = 40 or its largest."""
    model = diffkit.load(word)
    denoiser, latent = model.denoiser.eval(), model.latent
    lam = denoiser.schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))
    first = min(40.0, math.exp(-lam[0]))
    denoiser.schedule = EDM(1e-4, first)

    def draw(*key: str, count: int) -> tuple[Tensor, dict[str, Tensor]]:
        noise = torch.randn(count, latent.channels, *latent.shape, generator=generator("solvers", *key))
        labels = torch.arange(count, device=model.device) % max(1, len(latent.labels))
        return first * noise.to(model.device), {"label": labels} if latent.labels else {}

    x, cond = draw("score", count=min(n, max(FEWEST, SCORED // latent.size)))
    pilot, pilot_cond = draw("pilot", count=samples(latent))
    name, root = str(model.config.data.name), math.sqrt(latent.size)
    return Problem(name, denoiser, x, pilot, cond, pilot_cond, latent.std, 0.002, first, root, CONVERGED)


def of_table(schedule: Any, steps: int) -> Tensor:
    """Return the trailing timesteps of DDPM's linear table, as times of another schedule that reaches as far."""
    lam = schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64))
    return schedule.time(Linear().lam(TableGrid()(Linear(), steps)).clamp(*lam))


def grids_of(problem: Problem) -> dict[str, Any]:
    """Return the grids that solvers are compared on, by name."""
    low, high = problem.sigma_min, problem.sigma_max
    return {
        "karras": KarrasGrid(7, low, high),
        "loglinear": LogLinearGrid(low, high),
        "rational c=.5": RationalGrid(0.5, 1.0, sigma_max=high),
        "rational c=1": RationalGrid(1.0, 1.0, sigma_max=high),
        **({"table": of_table} if high >= SIGMA_MAX else {}),
    }


def others(problem: Problem, nfe: int) -> Iterator[tuple[str, str, float]]:
    """Yield solver, grid and error of diffkit's other solvers on each grid."""
    solvers = {
        "dpmpp_2m": DPMpp2M(nfe),
        "unipc 2": UniPC(nfe, order=2),
        "unipc 3": UniPC(nfe, order=3),
        "lms": LMS(nfe),
        "heun": Heun((nfe + 1) // 2),
    }
    for grid_name, grid in grids_of(problem).items():
        for name, solver in solvers.items():
            yield name, grid_name, problem.error(problem.run(solver, grid))


def rows(problem: Problem, nfes: list[int], peers: bool) -> Iterator[dict[str, Any]]:
    """Yield a row for each setting and number of evaluations."""
    for nfe in nfes:
        pilot = problem.pilot / problem.sigma_max
        found = calibrate(problem.denoiser, pilot, steps=nfe, scale=problem.scale, **problem.pilot_cond)
        plain = ExpAdams(nfe, scale=problem.scale)
        measured = [
            ("exp_adams", "calibrated", problem.error(problem.run(found.sampler, found.grid))),
            ("exp_adams", "uncalibrated", problem.error(problem.run(plain, RationalGrid(problem.scale)))),
            *others(problem, nfe),
        ]
        if peers:
            from peers import settings

            measured += settings(problem, nfe, grids_of(problem))
        for solver, grid, error in measured:
            row = {"problem": problem.name, "solver": solver, "grid": grid, "nfe": nfe, "error": error}
            yield {**row, "default": True} if grid == "calibrated" else row


def show(problem: Problem, found: list[dict[str, Any]], nfes: list[int]) -> None:
    """Print the table of a problem, the best of the others last, and the default's error over it."""
    print(f"\n{problem.name}: standard deviation {problem.scale:.3g}, {len(problem.x)} samples")
    print(f"{'solver':12}{'grid':16}" + "".join(f"{nfe:>10}" for nfe in nfes))
    errors: dict[tuple[str, str], list[float]] = {}
    for row in found:
        errors.setdefault((row["solver"], row["grid"]), []).append(row["error"])
    for (solver, grid), line in errors.items():
        print(f"{solver:12}{grid:16}" + "".join(f"{error:10.2e}" for error in line))
    rivals = [line for (solver, _), line in errors.items() if solver != "exp_adams"]
    best = [min(column) for column in zip(*rivals, strict=True)]
    ours = errors["exp_adams", "calibrated"]
    print(f"{'best other':28}" + "".join(f"{error:10.2e}" for error in best))
    print(f"{'default / best other':28}" + "".join(f"{a / b:10.2f}" for a, b in zip(ours, best, strict=True)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="*", metavar="RUN", help="trained runs")
    parser.add_argument("--problem", nargs="*", type=Path, default=[], metavar="FILE", help="mixtures of your own")
    parser.add_argument("--nfe", nargs="*", type=int, default=[5, 8, 10, 15, 20, 35, 50], metavar="N")
    parser.add_argument("--samples", type=int, default=256, help="how many trajectories are scored, at most")
    parser.add_argument("--peers", action="store_true", help="diffusers too, where it is installed")
    parser.add_argument("--json", action="store_true", help="end with one JSON list")
    given = parser.parse_args()
    every = []
    try:
        for make in (
            *(lambda run=run: of_run(run, given.samples) for run in given.runs),
            *(lambda path=path: of_file(path, given.samples) for path in given.problem),
            lambda: of_mixture("soft3", GaussianMixture.soft3(), given.samples, SIGMA_MAX, SIGMA_MIN),
            lambda: of_mixture("ring8", GaussianMixture.ring8(), given.samples, SIGMA_MAX, SIGMA_MIN),
        ):
            problem = make()
            found = list(rows(problem, given.nfe, given.peers))
            show(problem, found, given.nfe)
            every += found
    except DiffkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if given.json:
        print(json.dumps(every))
    return 0


if __name__ == "__main__":
    with torch.no_grad():
        sys.exit(main())
