"""``diffkit calibrate RUN``: the weights and the grid that suit a run, kept as its own."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

import diffkit
from diffkit import DiffkitError, Level, Progress, generator
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.calibration import calibrate, cost, samples


class _Watched:
    """A denoiser whose evaluations are shown."""

    def __init__(self, denoiser: Denoise, progress: Progress) -> None:
        self.denoiser, self.progress, self.evaluations = denoiser, progress, 0
        self.schedule, self.null = denoiser.schedule, denoiser.null

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        self.evaluations += 1
        self.progress.update(self.evaluations)
        return self.denoiser(x, at, **cond)


def calibrate_run(words: Sequence[str]) -> int:
    """Calibrate ``exp_adams`` to a run at its number of steps, or at ``sampler.steps=N``, and keep what was found."""
    if not words or "=" in words[0]:
        raise DiffkitError("diffkit calibrate needs a run; such as: diffkit calibrate last sampler.steps=20")
    run, rest = words[0], words[1:]
    for word in rest:
        if word.startswith(("sampler=", "grid=")) and word != "sampler=exp_adams":
            raise DiffkitError(f"{word} is not what is calibrated, which is exp_adams and its grid; leave it out")
    model = diffkit.load(run, *rest)
    latent, denoiser = model.latent, model.denoiser.eval()
    n = samples(latent)
    noise = torch.randn(n, latent.channels, *latent.shape, generator=generator("calibrate", "noise"))
    cond: dict[str, Any] = {"label": torch.arange(n, device=model.device) % len(latent.labels)} if latent.labels else {}
    guided, steps = model.guidance(denoiser) if model.guidance is not None else denoiser, model.config.sampler.steps
    with Progress("calibrate", cost(steps)) as progress:
        watched = _Watched(guided, progress)
        found = calibrate(watched, noise.to(model.device), steps=steps, scale=latent.std, **cond)
    options = {name: getattr(found.sampler, name) for name in ("steps", "order", "scale", "fitted")}
    grid = {"name": "explicit", "lams": found.grid.values.tolist()}
    diffkit.keep(run, sampler={"name": "exp_adams", **options}, grid=grid)
    print(f"kept     sampler=exp_adams sampler.steps={found.sampler.steps}, with its own weights and grid")
    print(f"error    {found.error:.2g} (root mean square) after {watched.evaluations} evaluations of {n} trajectories")
    print(f"next     diffkit sample {run} sample.n=64")
    return 0
