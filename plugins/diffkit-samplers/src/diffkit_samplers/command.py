"""``diffkit calibrate RUN``: the sampler and the grid that suit a run, kept as its own."""

from collections.abc import Sequence

import torch

import diffkit
from diffkit import DiffkitError, generator
from diffkit_samplers.calibration import calibrate

SAMPLES = 32
"""How many trajectories are looked at."""


@torch.no_grad()
def calibrate_run(words: Sequence[str]) -> int:
    """Calibrate ``exp_adams`` to a run at its number of steps, or at ``sampler.steps=N``, and keep what was found."""
    if not words or "=" in words[0]:
        raise DiffkitError("diffkit calibrate needs a run; such as: diffkit calibrate last sampler.steps=20")
    run, rest = words[0], words[1:]
    model = diffkit.load(run, *rest)
    latent, denoiser = model.latent, model.denoiser.eval()
    noise = torch.randn(SAMPLES, latent.channels, *latent.shape, generator=generator("calibrate", "noise"))
    cond = {"label": torch.arange(SAMPLES, device=model.device) % len(latent.labels)} if latent.labels else {}
    found = calibrate(
        model.guidance(denoiser) if model.guidance is not None else denoiser,
        noise.to(model.device),
        steps=model.config.sampler.steps,
        scale=latent.std,
        **cond,
    )
    sampler = {"name": "exp_adams", "steps": found.sampler.steps, "order": found.sampler.order, "scale": latent.std}
    diffkit.keep(run, sampler=sampler, grid={"name": "explicit", "lams": found.grid.values.tolist()})
    print(
        f"kept     sampler=exp_adams sampler.steps={found.sampler.steps} sampler.order={found.sampler.order}, its grid"
    )
    print(f"error    {found.error:.2g} (root mean square) from where {SAMPLES} trajectories end")
    print(f"next     diffkit sample {run} sample.n=64")
    return 0
