"""Guidance: something that wraps a denoiser and returns a denoiser."""

import math

import torch
from torch import Tensor

from diffkit import DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit.contracts.schedule import Schedule


class Unguided:
    """The denoiser as it is."""

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return ``denoiser``."""
        return denoiser


class CFG:
    """Classifier-free guidance: D = D_null + scale (D_label - D_null), both from one call on a doubled batch.

    Ho & Salimans, "Classifier-Free Diffusion Guidance" (2022); scale is 1 + w there. It needs a network that was
    trained with the null label besides the others.

    Args:
        scale: 1 is the model of the label as it is, 0 that of any label, and more than 1 exaggerates what is
            typical of the label.
    """

    def __init__(self, scale: float = 1.5) -> None:
        if not math.isfinite(scale):
            raise DiffkitError(f"scale={scale} is not a strength of guidance; give a number, such as scale=1.5")
        self.scale = scale

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the guided denoiser."""
        return _Guided(denoiser, self.scale)


class _Guided:
    """The denoiser that :class:`CFG` returns."""

    def __init__(self, denoiser: Denoise, scale: float) -> None:
        self.denoiser, self.scale = denoiser, scale
        self.schedule: Schedule = denoiser.schedule

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any"."""
        return self.denoiser.null(cond)

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return the guided estimate of the clean data."""
        if "label" not in cond:
            raise DiffkitError("guidance 'cfg' guides towards a label; give one (sample.label=3), or guidance=none")
        if self.scale == 1:
            return self.denoiser(x, at, **cond)
        null = self.null(cond)
        if self.scale == 0:
            return self.denoiser(x, at, **null)
        both = {name: torch.cat((null[name], value)) for name, value in cond.items()}
        x0_null, x0_cond = self.denoiser(torch.cat((x, x)), at, **both).chunk(2)
        return x0_null.lerp(x0_cond, self.scale)
