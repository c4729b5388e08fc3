"""Times for clips of which every frame has its own."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.objective import Times
from diffkit.contracts.schedule import Schedule


class PerFrameTimes:
    """Times of another distribution, one for each frame of a clip, independently.

    A network that has learned to tell frames of any noise from each other goes on with a clip whose first frames are
    given as they are, or denoises the near future before the far one. Chen et al., "Diffusion Forcing: Next-token
    Prediction Meets Full-Sequence Diffusion" (2024), section 3.1.

    Args:
        base: the distribution: its name, a mapping of its name and options, or itself.
        spec: what the network models: clips, whose first axis is that of frames.
    """

    per_frame = True

    def __init__(self, base: str | Mapping[str, Any] | Times = "uniform", spec: DataSpec | None = None) -> None:
        if spec is None or spec.rank != 3:
            axes = "unknown" if spec is None else f"of {spec.rank} axes"
            raise DiffkitError(f"per_frame is for clips, and the data is {axes}; leave it out: times={base}")
        self.frames = spec.shape[0]
        self.base: Times = build("times", base, spec=spec) if isinstance(base, str | Mapping) else base
        if hasattr(self.base, "observe") or getattr(self.base, "per_frame", False):
            raise DiffkitError(f"base={base} cannot be drawn by frame; give another, such as base=lognormal")

    def __call__(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return times ``(n, frames)``, float64 on the host."""
        t = self.base(n * self.frames, schedule, generator)
        return t[torch.randperm(len(t), generator=generator)].reshape(n, self.frames)  # stratified ones come in order
