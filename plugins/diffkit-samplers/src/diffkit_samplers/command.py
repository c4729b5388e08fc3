"""``diffkit calibrate RUN``: the weights and the grid that suit a run, kept as its own."""

from collections.abc import Sequence
from typing import Any

import torch

import diffkit
from diffkit import DiffkitError, generator
from diffkit_samplers.calibration import calibrate, samples


@torch.no_grad()
def calibrate_run(words: Sequence[str]) -> int:
    """Calibrate ``exp_adams`` to a run at its number of steps, or at ``sampler.steps=N``, and keep what was found."""
    if not words or "=" in words[0]:
        raise DiffkitError("diffkit calibrate needs a run; such as: diffkit calibrate last sampler.steps=20")
    run, rest = words[0], words[1:]
    model = diffkit.load(run, *rest)
    latent, denoiser = model.latent, model.denoiser.eval()
    n = samples(latent.size)
    noise = torch.randn(n, latent.channels, *latent.shape, generator=generator("calibrate", "noise"))
    cond: dict[str, Any] = {"label": torch.arange(n, device=model.device) % len(latent.labels)} if latent.labels else {}
    found = calibrate(
        model.guidance(denoiser) if model.guidance is not None else denoiser,
        noise.to(model.device),
        steps=model.config.sampler.steps,
        scale=latent.std,
        **cond,
    )
    options = {name: getattr(found.sampler, name) for name in ("steps", "order", "scale", "fitted")}
    grid = {"name": "explicit", "lams": found.grid.values.tolist()}
    diffkit.keep(run, sampler={"name": "exp_adams", **options}, grid=grid)
    print(f"kept     sampler=exp_adams sampler.steps={found.sampler.steps}, with its own weights and grid")
    print(f"error    {found.error:.2g} (root mean square) after {found.evaluations} evaluations of {n} trajectories")
    print(f"next     diffkit sample {run} sample.n=64")
    return 0
