"""A video file as an array: the frames on show at a steady rate, cropped and resized."""

import math
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path

import av
import numpy as np
from PIL import Image

from diffkit import DataSpec

SUFFIXES = (".mp4", ".gif", ".webm", ".mov", ".mkv", ".avi")
CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,gif,matroska,webm,avi"
"""The formats that may be opened: never a play list, which would name other files."""
GRACE = 0.1
"""How much of a step a frame may come too late, since containers round their time stamps."""


def decode(path: Path, spec: DataSpec) -> np.ndarray:
    """Return a file's first frames at ``spec.rate`` a second, as uint8 ``(channels, frames, height, width)``.

    Frame k is what a player shows k / rate seconds after the first frame; a rate of 0 takes the file's own frames.
    Each is cropped to the shape of ``spec`` about its centre, then resized.

    Raises:
        ValueError: for a file that is no video, is damaged, or is shorter than the frames asked for.
    """
    if path.stat().st_size == 0:
        raise ValueError("the file is empty")
    count, height, width = spec.shape
    try:
        with av.open(str(path), options={"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}) as container:
            if not container.streams.video:
                raise ValueError("it has no pictures")
            frames: list[np.ndarray] = []
            for image in _on_show(container, container.streams.video[0], spec.rate):
                frames.append(fit(image, height, width, spec.channels))
                if len(frames) == count:
                    return np.stack(frames, axis=1)
    except av.error.FFmpegError as error:
        raise ValueError(f"not a readable {', '.join(SUFFIXES)} file: {error.strerror}") from error
    wanted = f"{count} frames" + (f" at {spec.rate:g} a second" if spec.rate else "")
    raise ValueError(f"too short or cut off: {len(frames)} of {wanted}")


def _on_show(
    container: av.container.InputContainer, stream: av.video.stream.VideoStream, rate: float
) -> Iterator[Image.Image]:
    """Yield the picture that is on show at each tick of ``rate`` a second."""
    own_step = float(1 / stream.average_rate) if stream.average_rate else 0.0
    shown, start, end, tick = None, None, 0.0, 0
    for number, frame in enumerate(container.decode(stream)):
        if frame.is_corrupt:
            raise ValueError(f"frame {number} is damaged")
        if not rate:
            yield _picture(frame)
            continue
        time = frame.time if frame.time is not None else number * own_step
        start = time if start is None else start
        due = math.ceil((time - start) * rate - GRACE)
        if shown is not None and due > tick:
            yield from repeat(_picture(shown), due - tick)
            tick = due
        lasts = float(frame.duration * frame.time_base) if frame.duration and frame.time_base else own_step
        shown, end = frame, time - start + lasts
    if shown is not None:
        yield from repeat(_picture(shown), math.ceil(end * rate - GRACE) - tick)


def _picture(frame: av.VideoFrame) -> Image.Image:
    """Return a frame in RGB and the right way up."""
    picture = Image.fromarray(frame.to_ndarray(format="rgb24"))
    return picture.rotate(frame.rotation, expand=True) if frame.rotation else picture


def fit(picture: Image.Image, height: int, width: int, channels: int) -> np.ndarray:
    """Return a picture cropped about its centre and resized, as uint8 ``(channels, height, width)``."""
    scale = min(picture.width / width, picture.height / height)
    left, top = (picture.width - scale * width) / 2, (picture.height - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    filter_ = Image.Resampling.BOX if scale > 1 else Image.Resampling.BICUBIC
    fitted = picture.convert("L" if channels == 1 else "RGB").resize((width, height), filter_, box)
    return np.atleast_3d(np.asarray(fitted)).transpose(2, 0, 1)
