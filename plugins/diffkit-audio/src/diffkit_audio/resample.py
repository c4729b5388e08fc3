"""Resampling by band-limited interpolation, for any pair of rates."""

import torch
from torch import Tensor

ZEROS = 24
"""How many zero crossings of the sinc each side of its window keeps."""
EDGE = 0.94
"""The cut-off, as a part of the lower of the two Nyquist frequencies: what the window's transition band needs."""
BLOCK = 4096


def resample(x: Tensor, old: float, new: float, length: int) -> Tensor:
    """Return ``length`` samples at rate ``new`` of sounds sampled at rate ``old``.

        y[m] = Σ_n x[n] h(m old/new - n),    h(d) = c sinc(c d) cos²(π c d / 2Z),    c = EDGE · min(1, new/old)

    J. O. Smith and P. Gossett, "A flexible sampling-rate conversion method" (1984). The kernel is evaluated where it is
    needed, so that rates without a common divisor cost no more than others, in time or memory.

    Args:
        x: ``(..., samples)``; it is silent before its start and after its end.
        old: its rate.
        new: the rate wanted.
        length: the number of samples wanted.
    """
    if old == new:
        return torch.nn.functional.pad(x, (0, max(length - x.shape[-1], 0)))[..., :length]
    cut = EDGE * min(1.0, new / old)
    reach = int(ZEROS / cut) + 1
    offsets = torch.arange(-reach + 1, reach + 1)
    source = torch.nn.functional.pad(x, (reach, reach))
    blocks = []
    for start in range(0, length, BLOCK):
        position = torch.arange(start, min(start + BLOCK, length), dtype=torch.float64) * (old / new)
        index = position.long()[:, None] + offsets
        distance = (position[:, None] - index) * cut
        window = torch.cos(distance.clamp(-ZEROS, ZEROS) * (torch.pi / (2 * ZEROS))).square()
        kernel = (cut * torch.sinc(distance) * window).to(x.dtype)
        taps = source[..., (index + reach).clamp(0, source.shape[-1] - 1)]
        blocks.append((taps * kernel).sum(-1))
    return torch.cat(blocks, -1)
