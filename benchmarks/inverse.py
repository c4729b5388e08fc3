"""How far the methods for linear inverse problems are from the exact posterior.

    python benchmarks/inverse.py [--n 2000] [--seeds 3] [--json]

The data are Gaussian mixtures, whose denoiser is exact and whose posterior given y = A x₀ + σ_y ε is a mixture in
closed form. Each problem has its own A, and y is seen for one draw of the data a seed. n samples are drawn by each
method, and the table says, as means over the seeds,

    mean    the distance of the samples' mean from the posterior's, in units of the posterior's total deviation √tr C
    cov     that of their covariance, relative to its own size (Frobenius norm)
    w2      the sliced Wasserstein-2 distance to n exact draws over 64 directions, in units of √(tr C / d)
    misfit  the mean of ‖y - A x‖² / (m σ_y²), beside what exact draws have

Beside them stands `exact`: the denoiser of the posterior itself, sampled likewise, which is the floor that the number
of samples and steps sets. `prior` ignores y. All but RePaint, which has steps of its own, are followed by heun with 40
steps on the Karras grid (`ode`) and by ddim with eta=1 and 80 steps (`sde`); evaluations are counted. With --json the
last line is one JSON list.
"""

import argparse
import json
from itertools import product
from math import sqrt
from typing import Any

import torch
from diffkit_inference import DDNM, DPS, MMPS, Dense, Downsample, Operator, PiGDM, RePaint, random_projection
from diffkit_samplers import DDIM, Heun, KarrasGrid, Unguided
from diffkit_schedules import Cosine
from torch import Tensor

from diffkit import generator
from diffkit.contracts.sampling import Guidance, Sampler
from diffkit.testing import GaussianMixture, MixtureDenoiser

NOISE = 0.1
DIRECTIONS = 64
Problem = tuple[GaussianMixture, Operator, tuple[int, ...]]


def blobs(modes: int, side: int) -> GaussianMixture:
    """Return a mixture of smooth pictures: means and covariances that fall off with the distance of two pixels."""
    places = torch.cartesian_prod(torch.arange(side), torch.arange(side)).double()
    near = torch.exp(-torch.cdist(places, places).square() / 4)
    draws = torch.randn(modes, side * side, generator=generator("blobs"), dtype=torch.float64)
    means = draws @ torch.linalg.cholesky(near + 1e-6 * torch.eye(len(near))).T
    sizes = torch.linspace(0.05, 0.2, modes, dtype=torch.float64)
    return GaussianMixture([1.0] * modes, means, sizes[:, None, None] * near + 0.01 * torch.eye(len(near)))


def problems() -> dict[str, Problem]:
    """Return the mixtures with their operators and the shape of an item."""
    plane = Dense(torch.tensor([[0.8, 0.6]]), (2,))
    tilted = GaussianMixture([1.0], [[0.3, -0.2]], [[[0.5, 0.3], [0.3, 0.4]]])
    round_ = GaussianMixture([1.0], [[0.3, -0.2]], [[0.25, 0.25]])
    return {
        "round Gaussian, a line": (round_, plane, (2,)),
        "tilted Gaussian, a line": (tilted, plane, (2,)),
        "soft3, a line": (GaussianMixture.soft3(), plane, (2,)),
        "ring8, a line": (GaussianMixture.ring8(), plane, (2,)),
        "blobs 4x4, 2x2 means": (blobs(6, 4), Downsample(2), (1, 4, 4)),
        "blobs 4x4, 6 projections": (blobs(6, 4), random_projection(6, (1, 4, 4)), (1, 4, 4)),
    }


def methods(operator: Operator, y: Tensor, std: float) -> dict[str, tuple[Guidance | None, Sampler]]:
    """Return guidance and sampler by name; no guidance is the posterior's own denoiser."""
    guidances: dict[str, Any] = {
        "DDNM": DDNM(operator, y, NOISE, std),
        "PiGDM": PiGDM(operator, y, NOISE, std),
        "DPS": DPS(operator, y, NOISE, std=std),
        "MMPS": MMPS(operator, y, NOISE),
    }
    samplers: dict[str, Sampler] = {"ode": Heun(40), "sde": DDIM(80, eta=1.0)}
    found: dict[str, Any] = {
        f"{name} {way}": (guidance, sampler)
        for (name, guidance), (way, sampler) in product(guidances.items(), samplers.items())
    }
    for resample in (1, 10):
        found[f"RePaint x{resample}"] = Unguided(), RePaint(operator, y, NOISE, 50, resample)
    floor = {f"exact {way}": (None, sampler) for way, sampler in samplers.items()}
    return {**floor, "prior ode": (Unguided(), samplers["ode"]), **found}


def sliced_w2(a: Tensor, b: Tensor) -> float:
    """Return the sliced Wasserstein-2 distance of two sets of as many points."""
    turns = torch.randn(a.shape[1], DIRECTIONS, generator=generator("directions"), dtype=torch.float64)
    turns /= turns.norm(dim=0)
    return ((a @ turns).sort(0)[0] - (b @ turns).sort(0)[0]).square().mean().sqrt().item()


def measure(problem: Problem, n: int, seed: int) -> dict[str, dict[str, float]]:
    """Return the figures of every method on one observation."""
    mixture, operator, shape = problem
    draws = generator(seed, "inverse")
    eye = torch.eye(mixture.dim, dtype=torch.float64).reshape(-1, *shape)
    matrix = operator.forward(eye).flatten(1).T
    truth = mixture.sample(1, draws)
    seen = matrix @ truth[0]
    seen = seen + NOISE * torch.randn(seen.shape, generator=draws, dtype=torch.float64)
    posterior = mixture.given(matrix, seen, NOISE)
    y = seen.reshape(1, *operator.forward(eye[:1]).shape[1:])
    noise = torch.randn(n, *shape, generator=draws, dtype=torch.float64)
    exact, size = posterior.sample(n, draws), posterior.covariance().trace().sqrt()
    figures = {}
    for name, (guidance, sampler) in methods(operator, y, sqrt(mixture.covariance().trace() / mixture.dim)).items():
        model = MixtureDenoiser(mixture if guidance else posterior, Cosine())
        guided = guidance(model) if guidance else model
        torch.manual_seed(seed)
        x = sampler(guided, noise, grid=KarrasGrid()).flatten(1)
        figures[name] = {
            "mean": ((x.mean(0) - posterior.mean()).norm() / size).item(),
            "cov": ((x.T.cov() - posterior.covariance()).norm() / posterior.covariance().norm()).item(),
            "w2": sliced_w2(x, exact) / (size.item() / sqrt(mixture.dim)),
            "misfit": ((x @ matrix.T - seen) / NOISE).square().mean().item(),
            "misfit_exact": ((exact @ matrix.T - seen) / NOISE).square().mean().item(),
            "nfe": float(model.evaluations),
        }
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--n", type=int, default=2000, help="samples for each method")
    parser.add_argument("--seeds", type=int, default=3, help="observations of each problem")
    parser.add_argument("--json", action="store_true", help="print a list of figures as the last line")
    args = parser.parse_args()
    rows = []
    for title, problem in problems().items():
        runs = [measure(problem, args.n, seed) for seed in range(args.seeds)]
        print(f"\n{title:<28}{'mean':>8}{'cov':>8}{'w2':>8}{'misfit':>9}{'(exact)':>9}{'NFE':>6}")
        for name in runs[0]:
            mean = {key: sum(run[name][key] for run in runs) / len(runs) for key in runs[0][name]}
            rows.append({"problem": title, "method": name, **mean})
            print(
                f"  {name:<26}{mean['mean']:8.3f}{mean['cov']:8.3f}{mean['w2']:8.3f}{mean['misfit']:9.2f}"
                f"{mean['misfit_exact']:9.2f}{mean['nfe']:6.0f}",
                flush=True,
            )
    if args.json:
        print(json.dumps(rows))


if __name__ == "__main__":
    main()
