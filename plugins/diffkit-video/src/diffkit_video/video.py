"""The modality of clips."""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.sheet import contact_sheet
from diffkit_video.decode import SUFFIXES, decode

PLAYED = 128
"""Frames with a shorter side than this are enlarged in the files, so that players show squares and not a blur."""
DEFAULT_RATE = 8.0
"""Frames a second of a clip whose spec gives no rate."""
IN_A_ROW, FRAME = 8, 64
"""On a sheet: the frames shown of a clip, and their height in pixels, about."""


class Video:
    """Clips ``(channels, frames, height, width)`` in [-1, 1], of 1 channel (grey) or 3 (RGB).

    A clip is saved as H.264 in MP4, and as a GIF that loops. On a sheet it is a row of frames.
    """

    name = "video"
    rank = 3
    suffixes = SUFFIXES

    def read(self, path: Path, spec: DataSpec) -> Tensor:
        """Return a file's first frames at ``spec.rate`` a second, cropped about the centre and resized.

        Raises:
            ValueError: for a file that is no video, is damaged, or is too short.
        """
        return torch.from_numpy(decode(path, spec).astype(np.float32)) / 127.5 - 1

    def check(self, x: Tensor, spec: DataSpec) -> None:
        """Raise :class:`~diffkit.DiffkitError` where ``x`` is not a clip of ``spec``."""
        if spec.rank != 3 or spec.channels not in (1, 3):
            raise DiffkitError(
                f"a clip is (frames, height, width) in 1 or 3 channels, not {spec.shape} in {spec.channels}; "
                f"choose data of modality video, such as data=moving_digits"
            )
        if tuple(x.shape) != (spec.channels, *spec.shape) or x.dtype != torch.float32:
            raise DiffkitError(
                f"this clip is {x.dtype} {tuple(x.shape)}; it has to be float32 {(spec.channels, *spec.shape)}"
            )
        if not (x.abs() <= 1).all():
            raise DiffkitError("a value of this clip is outside [-1, 1] or not a number; scale it or clamp it")

    def save(self, x: Tensor, stem: Path, spec: DataSpec) -> Sequence[Path]:
        """Write ``stem.mp4`` and ``stem.gif``, and return both."""
        mp4, gif = (stem.with_name(stem.name + suffix) for suffix in (".mp4", ".gif"))
        frames, rate = _frames(x), spec.rate or DEFAULT_RATE
        shorter = min(frames.shape[1:3])
        frames = _enlarged(frames, 1 if shorter >= PLAYED else 2 * math.ceil(PLAYED / 2 / shorter))
        _write_mp4(frames, mp4, rate)
        _write_gif(frames, gif, rate)
        return [mp4, gif]

    def sheet(self, xs: Tensor, titles: Sequence[str], path: Path, spec: DataSpec, group: int = 1) -> None:
        """Write one picture of clips ``(n, channels, *shape)``, each a row of frames under its title."""
        contact_sheet([_row(_frames(x)) for x in xs], titles, path, group)


def _frames(x: Tensor) -> np.ndarray:
    """Return a clip as uint8 RGB ``(frames, height, width, 3)``."""
    values = ((x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return values.expand(3, *x.shape[1:]).permute(1, 2, 3, 0).numpy()


def _enlarged(frames: np.ndarray, factor: int) -> np.ndarray:
    return frames.repeat(factor, axis=1).repeat(factor, axis=2)


def _row(frames: np.ndarray) -> np.ndarray:
    """Return up to ``IN_A_ROW`` frames, evenly picked, side by side with a line of white between."""
    frames = frames[np.linspace(0, len(frames) - 1, min(len(frames), IN_A_ROW)).round().astype(int)]
    height, width = frames.shape[1:3]
    if height > 2 * FRAME:
        size = (max(1, round(width * 2 * FRAME / height)), 2 * FRAME)
        frames = np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames])
    else:
        frames = _enlarged(frames, max(1, round(FRAME / height)))
    spaced = np.pad(frames, ((0, 0), (0, 0), (0, 2), (0, 0)), constant_values=255)
    return np.concatenate(list(spaced), axis=1)[:, :-2]


def _write_mp4(frames: np.ndarray, path: Path, rate: float) -> None:
    """Write H.264 that every player knows: yuv420p, whose sides have to be even."""
    frames = np.pad(frames, ((0, 0), (0, frames.shape[1] % 2), (0, frames.shape[2] % 2), (0, 0)), mode="edge")
    with av.open(str(path), "w", format="mp4", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("h264", rate=Fraction(rate).limit_denominator(1001))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": "14"}
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), format="rgb24")))
        container.mux(stream.encode())


def _write_gif(frames: np.ndarray, path: Path, rate: float) -> None:
    """Write a GIF that loops; its hundredths of a second are dealt out so that they add up to the rate."""
    ends = [int(100 * k / rate) for k in range(len(frames) + 1)]
    durations = [10 * max(end - start, 2) for start, end in pairwise(ends)]
    first, *rest = (Image.fromarray(frame) for frame in frames)
    first.save(path, "GIF", save_all=True, append_images=rest, duration=durations, loop=0)
