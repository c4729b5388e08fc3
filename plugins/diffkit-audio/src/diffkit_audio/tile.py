"""A sound as a picture: its waveform over its spectrogram, in seconds and kilohertz."""

import math
from functools import cache

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

WIDTH, WAVE, SPECTRUM = 300, 64, 150
LEFT, TOP, GAP, BOTTOM, RIGHT = 44, 6, 8, 34, 10
INK, FAINT, BLUE = (60, 60, 67), (226, 226, 232), (38, 84, 164)
RANGE = 70.0
"""Decibels from the loudest to the darkest."""
MAGMA = (
    *((0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122)),
    *((229, 80, 100), (251, 135, 97), (254, 194, 135), (252, 253, 191)),
)
"""Matplotlib's colour map of that name, at equal distances."""


def tile(x: Tensor, rate: float) -> np.ndarray:
    """Return sound ``x`` ``(channels, samples)`` at ``rate`` as a picture ``(height, width, 3)``, uint8."""
    mono = x.mean(0).nan_to_num()
    seconds = len(mono) / rate
    page = Image.new("RGB", (LEFT + WIDTH + RIGHT, TOP + WAVE + GAP + SPECTRUM + BOTTOM), "white")
    draw = ImageDraw.Draw(page)
    floor = TOP + WAVE + GAP + SPECTRUM
    page.paste(Image.fromarray(_spectrogram(mono, rate)), (LEFT, TOP + WAVE + GAP))
    for second in ticks(seconds, 6):
        at = LEFT + round(second / seconds * (WIDTH - 1))
        draw.line((at, TOP, at, TOP + WAVE), FAINT)
        draw.line((at, floor, at, floor + 3), INK)
        draw.text((at, floor + 5), f"{second:g}", INK, _font(11), anchor="ma")
    draw.text((LEFT + WIDTH / 2, floor + 18), "seconds", INK, _font(11), anchor="ma")
    top = rate / 2000
    for kilohertz in ticks(top, 5):
        at = floor - 1 - round(kilohertz / top * (SPECTRUM - 1))
        draw.line((LEFT - 4, at, LEFT - 1, at), INK)
        draw.text((LEFT - 7, at), f"{kilohertz:g}", INK, _font(11), anchor="rm")
    draw.text((2, floor - SPECTRUM - 1), "kHz", INK, _font(11), anchor="la")
    _waveform(draw, mono)
    return np.asarray(page)


def _waveform(draw: ImageDraw.ImageDraw, mono: Tensor) -> None:
    """Draw, in each column of pixels, the range that the sound has there."""
    middle, half = TOP + WAVE / 2, WAVE / 2
    draw.line((LEFT, middle, LEFT + WIDTH, middle), FAINT)
    edges = np.linspace(0, len(mono), WIDTH + 1).astype(int)
    values = mono.clamp(-1, 1).numpy()
    for column in range(WIDTH):
        part = values[edges[column] : max(edges[column + 1], edges[column] + 1)]
        draw.line((LEFT + column, middle - half * part.max(), LEFT + column, middle - half * part.min()), BLUE)
    draw.rectangle((LEFT - 1, TOP - 1, LEFT + WIDTH, TOP + WAVE), outline=FAINT)
    for value in (-1, 1):
        draw.text((LEFT - 7, middle - value * (half - 4)), f"{value:g}", INK, _font(11), anchor="rm")


def _spectrogram(mono: Tensor, rate: float) -> np.ndarray:
    """Return ``(SPECTRUM, WIDTH, 3)``: power in decibels below the loudest, low frequencies at the bottom."""
    window = 2 ** max(round(math.log2(0.05 * rate)), 5)
    hop = max(len(mono) // WIDTH, 1)
    shape = torch.hann_window(window)
    frames = torch.stft(mono, 2 * window, hop, window, shape, pad_mode="constant", return_complex=True)
    power = frames.abs().square()
    decibels = 10 * torch.log10(power.clamp_min(1e-12))
    level = ((decibels - decibels.max().clamp_min(-40)) / RANGE + 1).clamp(0, 1)
    level = torch.nn.functional.interpolate(level[None, None], (SPECTRUM, WIDTH), mode="bilinear", align_corners=True)
    return colours()[(level[0, 0].flip(0) * 255).round().long()].numpy()


def ticks(end: float, most: int) -> list[float]:
    """Return at most ``most`` + 1 round numbers from 0 to ``end``, at distances of 1, 2 or 5 times a power of ten."""
    rough = end / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))
    return [round(i * step, 12) for i in range(math.floor(end / step * (1 + 1e-9)) + 1)]


@cache
def colours() -> Tensor:
    """Return the 256 colours of the map ``(256, 3)``, uint8."""
    anchors = torch.tensor(MAGMA, dtype=torch.float32).T[None]
    table = torch.nn.functional.interpolate(anchors, 256, mode="linear", align_corners=True)
    return table[0].T.round().to(torch.uint8)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
