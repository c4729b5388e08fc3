"""Solvers of other libraries on the problems of solvers.py: the same start, levels and denoiser, in float64.

    python benchmarks/peers.py

By itself it says how far diffkit's solvers end from those of the same name on the same levels, on soft3: the largest
difference over the largest value. Every library that can be imported takes part: diffusers, k-diffusion, azula.
"""

from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, levels

Run = Callable[[Any, list[Level]], Tensor]
"""Ends of a problem's trajectories, stepped over levels, the last of which is clean."""


def settings(problem: Any, nfe: int, grids: Mapping[str, Any]) -> Iterator[tuple[str, str, float]]:
    """Yield solver, grid and error of each solver that is installed, those of two evaluations a step with half."""
    schedule = problem.denoiser.schedule
    for grid_name, grid in grids.items():
        for name, run in peers().items():
            steps = (nfe + 1) // 2 if "heun" in name else nfe
            yield name, grid_name, problem.error(run(problem, levels(schedule, grid(schedule, steps), like=problem.x)))


def peers() -> dict[str, Run]:
    """Return the solvers of the libraries that are installed."""
    found: dict[str, Run] = {}
    for library in (of_diffusers, of_k_diffusion, of_azula):
        try:
            found |= library()
        except ImportError:
            continue
    return found


def of_diffusers() -> dict[str, Run]:
    """Return solvers of diffusers; they are given the levels in place of their own."""
    from diffusers import DPMSolverMultistepScheduler, UniPCMultistepScheduler

    def stepped(make: Any, order: int) -> Run:
        def run(problem: Any, path: list[Level]) -> Tensor:
            scheduler, n = make(prediction_type="sample", solver_order=order), len(path) - 1
            scheduler.set_timesteps(n)
            scheduler.sigmas = torch.tensor([at.ratio for at in path], dtype=torch.float64)
            scheduler.timesteps = torch.arange(n, 0, -1)
            x = problem.x / (1 + path[0].ratio ** 2) ** 0.5  # it keeps α² + σ² = 1, and problems α = 1
            for at, t in zip(path[:-1], scheduler.timesteps, strict=True):
                x0 = problem.denoiser(x * (1 + at.ratio**2) ** 0.5, at, **problem.cond)
                x = scheduler.step(x0, t, x).prev_sample
            return x

        return run

    multistep, unified = DPMSolverMultistepScheduler, UniPCMultistepScheduler
    return {
        "d. ddim": stepped(multistep, 1),
        "d. dpmpp_2m": stepped(multistep, 2),
        "d. unipc 2": stepped(unified, 2),
        "d. unipc 3": stepped(unified, 3),
    }


def of_k_diffusion() -> dict[str, Run]:
    """Return solvers of k-diffusion."""
    from k_diffusion import sampling

    def stepped(sample: Any) -> Run:
        def run(problem: Any, path: list[Level]) -> Tensor:
            at = {level.sigma: level for level in path}

            def model(x: Tensor, sigma: Tensor) -> Tensor:
                return problem.denoiser(x, at[sigma[0].item()], **problem.cond)

            sigmas = torch.tensor([level.sigma for level in path], dtype=torch.float64)
            return sample(model, problem.x, sigmas, disable=True)

        return run

    names = {"ddim": "euler", "dpmpp_2m": "dpmpp_2m", "lms": "lms", "heun": "heun"}
    return {f"k. {ours}": stepped(getattr(sampling, f"sample_{its}")) for ours, its in names.items()}


def of_azula() -> dict[str, Run]:
    """Return the deterministic solver of azula that can end at σ=0; its time is σ here."""
    from azula.sample import DDIMSampler

    def run(problem: Any, path: list[Level]) -> Tensor:
        at = {level.sigma: level for level in path}

        class Estimate:
            mean: Tensor

        class Denoiser:
            def schedule(self, t: Tensor) -> tuple[Tensor, Tensor]:
                return torch.ones_like(t), t

            def __call__(self, x: Tensor, t: Tensor) -> Estimate:
                estimate = Estimate()
                estimate.mean = problem.denoiser(x, at[t.item()], **problem.cond)
                return estimate

        sampler, x = DDIMSampler(Denoiser(), silent=True), problem.x
        sigmas = torch.tensor([level.sigma for level in path], dtype=torch.float64)
        for t, s in pairwise(sigmas):
            x = sampler.step(x, t, s)
        return x

    return {"a. ddim": run}


def main() -> None:
    from diffkit_samplers import DDIM, LMS, DPMpp2M, Heun, KarrasGrid, UniPC
    from solvers import SIGMA_MAX, SIGMA_MIN, of_mixture

    from diffkit.testing import GaussianMixture

    ours = {
        "ddim": DDIM(12),
        "dpmpp_2m": DPMpp2M(12),
        "unipc 2": UniPC(12, order=2),
        "unipc 3": UniPC(12, order=3),
        "lms": LMS(12),
        "heun": Heun(12),
    }
    problem = of_mixture("soft3", GaussianMixture.soft3(), 64, SIGMA_MAX, SIGMA_MIN)
    grid, schedule = KarrasGrid(7, SIGMA_MIN, SIGMA_MAX), problem.denoiser.schedule
    path = levels(schedule, grid(schedule, 12), like=problem.x)
    for name, run in peers().items():
        own, its = problem.run(ours[name.split(" ", 1)[1]], grid), run(problem, path)
        print(f"{name:14}{(own - its).abs().max() / own.abs().max():10.1e}")


if __name__ == "__main__":
    with torch.no_grad():
        main()
