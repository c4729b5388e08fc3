"""Going on with clips of which the first frames are known."""

from typing import Any

import torch
from torch import Tensor

from diffkit import DiffkitError, Level
from diffkit.contracts.sampling import Denoise, Guidance, moments_of
from diffkit.contracts.schedule import Schedule


class Continued:
    """A guidance by the first frames of a clip, which the network is told as what they are: clean, beside noisy ones.

    It takes a network that is told a noise level a frame and was trained so, with ``times=per_frame``. That the frames
    are what they are is then part of what the network has learned, exactly, where inpainting has to approximate it, and
    an evaluation costs no more. Chen et al., "Diffusion Forcing: Next-token Prediction Meets Full-Sequence Diffusion"
    (2024). Times are those of the model's own schedule, λ by λ.

    Args:
        frames: the known ones ``(batch, channels, known, *shape of a frame)``, or those of all samples, ``(1, …)``.
        guidance: another guidance, of which every estimate is told the frames.
    """

    def __init__(self, frames: Tensor, guidance: Guidance | None = None) -> None:
        self.frames, self.guidance = frames, guidance

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that knows the frames."""
        told = _Told(denoiser, self.frames)
        return told if self.guidance is None else self.guidance(told)


class _Told:
    """The denoiser that a :class:`Continued` returns."""

    def __init__(self, denoiser: Denoise, frames: Tensor) -> None:
        self.denoiser, self.frames = denoiser, frames
        self.schedule: Schedule = denoiser.schedule

    def of(self, model: Denoise) -> Denoise:
        """Return another model that knows the frames."""
        return _Told(model, self.frames)

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any"."""
        return self.denoiser.null(cond)

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return the known frames, and the estimate of the others."""
        told, t, frames = self._told(x, at)
        x0 = self.denoiser(told, t, **cond)  # type: ignore[arg-type]
        return torch.cat((frames, x0[:, :, frames.shape[2] :]), 2)

    def moments(self, x: Tensor, at: Level, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return them, and the variance of each value, which for the known frames is 0."""
        told, t, frames = self._told(x, at)
        asked: Any = moments_of(self.denoiser)
        x0, variance = (value[:, :, frames.shape[2] :] for value in asked(told, t, **cond))
        return torch.cat((frames, x0), 2), torch.cat((torch.zeros_like(frames), variance), 2)

    def _told(self, x: Tensor, at: Level) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the network is given, at which times, and the known frames of each sample."""
        known, n = self.frames.shape[2], len(x)
        if n % len(self.frames) or not 0 < known < x.shape[2] or self.frames[0, :, 0].shape != x[0, :, 0].shape:
            raise DiffkitError(
                f"the known frames have shape {tuple(self.frames.shape)}, which are not the first of samples of "
                f"{tuple(x.shape)}; give (batch, channels, known, …), for each sample or, with a batch of 1, for all"
            )
        frames = self.frames.to(x).repeat(n // len(self.frames), *[1] * (x.ndim - 1))
        t = self.schedule.time(torch.full((n, x.shape[2]), at.lam, dtype=torch.float64))
        t[:, :known] = 0
        clean, noisy = self.schedule.alpha(t[0, [0, -1]]).tolist()
        return torch.cat((clean * frames, noisy / at.alpha * x[:, :, known:]), 2), t, frames
