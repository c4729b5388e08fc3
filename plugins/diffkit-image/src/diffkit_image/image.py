"""The modality of pictures."""

from collections.abc import Sequence
from math import ceil
from pathlib import Path

import numpy as np
import PIL.Image
import torch
from PIL import ImageOps, UnidentifiedImageError
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.sheet import contact_sheet

LARGEST = 64_000_000
"""Pixels of the largest picture that is decoded: a small file can unfold to gigabytes."""
SMALLEST_TILE, LARGEST_TILE = 64, 256
"""Pixels of the longer side of a picture on a sheet."""
MODES = {1: "L", 3: "RGB"}


class Image:
    """Pictures: grey (one channel) or RGB (three), height by width.

    Files are read upright (EXIF orientation), laid on white where they are transparent, cropped around the centre to
    the wanted aspect, and resized with a Lanczos filter. Pictures are written as PNG with 8 bits a channel.
    """

    name = "image"
    rank = 2
    suffixes = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")

    def read(self, path: Path, spec: DataSpec) -> Tensor:
        """Return the file as float32 ``(channels, height, width)`` in [-1, 1], fitted to ``spec``.

        Raises:
            DiffkitError: for a file that is no picture, is damaged, or is too large to decode.
        """
        return torch.from_numpy(decode(path, spec)).float() / 127.5 - 1

    def check(self, x: Tensor, spec: DataSpec) -> None:
        """Raise :class:`~diffkit.DiffkitError` where ``x`` is not a picture of ``spec`` with values in [-1, 1]."""
        _check_form(x, spec)
        low, high = x.min().item(), x.max().item()
        if low < -1.001 or high > 1.001:
            raise DiffkitError(f"a picture's values run from {low:.3g} to {high:.3g}; scale them to [-1, 1]")

    def save(self, x: Tensor, stem: Path, spec: DataSpec) -> Sequence[Path]:
        """Write a picture to ``stem`` + ``.png``; values beyond [-1, 1] become black or white."""
        path = stem.with_name(f"{stem.name}.png")
        _check_form(x, spec)
        pixels = _pixels(x)
        try:
            PIL.Image.fromarray(pixels if len(x) == 3 else pixels[..., 0]).save(path)
        except OSError as error:
            raise DiffkitError(f"{path} cannot be written ({error.strerror or error})") from error
        return [path]

    def sheet(self, xs: Tensor, titles: Sequence[str], path: Path, spec: DataSpec, group: int = 1) -> None:
        """Write a page of pictures; small ones are enlarged pixel by pixel, large ones reduced."""
        contact_sheet([_tile(x) for x in xs], titles, path, group)


def decode(path: Path, spec: DataSpec) -> np.ndarray:
    """Return a file as uint8 ``(channels, height, width)``; see :meth:`Image.read`."""
    height, width = spec.shape
    mode = _mode(spec)
    try:
        with PIL.Image.open(path) as picture:
            if picture.width * picture.height > LARGEST:
                raise DiffkitError(
                    f"it has {picture.width} x {picture.height} pixels, more than {LARGEST // 1_000_000} million"
                )
            enough = 2 * max(spec.shape)
            picture.draft(None, (enough, enough))  # a JPEG decodes faster at a half, a quarter or an eighth of its size
            upright = ImageOps.exif_transpose(picture)
    except PIL.Image.DecompressionBombError as error:
        raise DiffkitError(f"it has more than {LARGEST // 1_000_000} million pixels") from error
    except UnidentifiedImageError as error:
        raise DiffkitError("it is empty" if path.stat().st_size == 0 else "it is not a picture") from error
    fitted = ImageOps.fit(_plain(upright, mode), (width, height), PIL.Image.Resampling.LANCZOS)
    return np.array(fitted, ndmin=3) if mode == "L" else np.array(fitted).transpose(2, 0, 1).copy()


def _mode(spec: DataSpec) -> str:
    if spec.channels not in MODES:
        raise DiffkitError(f"channels={spec.channels} is not a kind of picture; give 1 for grey or 3 for RGB")
    return MODES[spec.channels]


def _plain(picture: PIL.Image.Image, mode: str) -> PIL.Image.Image:
    """Return a picture of any kind in ``mode``, 8 bits a channel."""
    if picture.mode.startswith("I;16"):
        picture = PIL.Image.fromarray((np.asarray(picture) >> 8).astype(np.uint8))
    if picture.mode in ("I", "F"):
        raise DiffkitError("its values have 32 bits; convert it to 8 or 16")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = PIL.Image.new("RGBA", picture.size, "white")
        picture = PIL.Image.alpha_composite(white, picture)
    return picture.convert(mode)


def _check_form(x: Tensor, spec: DataSpec) -> None:
    _mode(spec)
    if tuple(x.shape) != (spec.channels, *spec.shape):
        raise DiffkitError(f"a picture has the shape {tuple(x.shape)} instead of {(spec.channels, *spec.shape)}")
    if not x.is_floating_point():
        raise DiffkitError(f"a picture holds {x.dtype} instead of numbers in [-1, 1]; divide by 127.5, subtract 1")
    if not x.isfinite().all():
        raise DiffkitError(
            "a picture holds values that are not finite: the training diverged (lower optim.lr), or the sampling "
            "did (lower guidance.scale, or take more steps)"
        )


def _pixels(x: Tensor) -> np.ndarray:
    """Return ``(channels, height, width)`` in [-1, 1] as uint8 ``(height, width, channels)``."""
    scaled = (x.detach().float().cpu().clamp(-1, 1) + 1) * 127.5
    return scaled.round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _tile(x: Tensor) -> np.ndarray:
    pixels = _pixels(x)
    if pixels.shape[2] == 1:
        pixels = pixels.repeat(3, axis=2)
    longer = max(pixels.shape)
    if longer > LARGEST_TILE:
        picture = PIL.Image.fromarray(pixels)
        picture.thumbnail((LARGEST_TILE, LARGEST_TILE), PIL.Image.Resampling.LANCZOS)
        return np.asarray(picture)
    times = ceil(SMALLEST_TILE / longer)
    return pixels.repeat(times, axis=0).repeat(times, axis=1)
