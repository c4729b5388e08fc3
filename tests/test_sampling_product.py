"""Every installed schedule × solver × grid × number of steps × end: nothing is ever NaN or infinite."""

from itertools import product

import pytest
import torch

from diffkit import DataSpec, build, catalog, levels

SPEC = DataSpec(channels=1, shape=(2,), std=0.5)
SAMPLERS, GRIDS = catalog.names("sampler"), catalog.names("grid")
STEPS = (1, 2, 3, 5, 50)
ENDS = ("σ=0", "σ_min")
OPTIONS = {
    ("schedule", "tabulated"): lambda steps: {"betas": [0.001 * 1.2**k for k in range(30)]},
    ("sampler", "bosh3"): lambda steps: {"rtol": 1e-2, "atol": 1e-2},
    ("sampler", "dopri5"): lambda steps: {"rtol": 1e-2, "atol": 1e-2},
    ("grid", "explicit"): lambda steps: {"times": [1 - i / steps for i in range(steps)]},
}
"""What a component is built with for so many steps, where it needs options or its defaults take long."""


def made(kind, name, steps=1):
    return build(kind, name, spec=SPEC, **OPTIONS.get((kind, name), lambda steps: {})(steps))


class Normal:
    """The exact denoiser of data that is normal: E[x_0 | x] = α v / (α² v + σ²) x."""

    def __init__(self, schedule):
        self.schedule = schedule

    def __call__(self, x, at, **_):
        variance = SPEC.std**2
        return x * (at.alpha * variance / (at.alpha**2 * variance + at.sigma**2))

    def null(self, cond):
        return cond


def path(schedule, grid, steps, end, like):
    """Return ``steps`` + 1 levels, the last of them clean data or the last of the grid."""
    listed = steps if end == "σ=0" else steps + 1
    return levels(schedule, made("grid", grid, listed)(schedule, listed), like=like)[: steps + 1]


@pytest.mark.parametrize("name", catalog.names("schedule"))
def test_all_samples_are_finite_of_all_solvers_on_all_grids_under(name):
    schedule, noise = made("schedule", name), torch.randn(2, 1, 2, generator=torch.Generator().manual_seed(0))
    denoiser, runs, broken = Normal(schedule), 0, []
    samplers = {name: made("sampler", name) for name in SAMPLERS}
    for grid, steps, end in product(GRIDS, STEPS, ENDS):
        nodes = path(schedule, grid, steps, end, noise)
        x = nodes[0].sigma * noise
        for sampler, solver in samplers.items():
            solver.steps = steps
            if not solver.integrate(denoiser, x, nodes).isfinite().all():
                broken.append((sampler, grid, steps, end))
            runs += 1
    assert not broken, f"{len(broken)} of {runs} are not finite, such as {broken[:10]}"
    assert runs == len(SAMPLERS) * len(GRIDS) * len(STEPS) * len(ENDS)
