"""Normal noise whose values depend on each other: ε = L z with z standard normal, of unit variance at every position.

The sum of two draws is a draw again, and in the coordinates L⁻¹x the forward process is the usual one with the same α
and σ. So training, deterministic samplers and those that add noise stay exact: they are written in the estimate
E[x_0 | x_t], which needs no coordinates, and draw from the same noise. (α D - x) / σ² is then L Lᵀ times the score, and
a likelihood computed as if the noise were white would be wrong: it is refused.
"""

from functools import lru_cache
from math import sqrt
from typing import Literal

import torch
from torch import Generator, Tensor

from diffkit import DiffkitError


class OffsetNoise:
    """ε = (z + k o) / √(1 + k²): standard normal z, and one standard normal o for each channel of an item.

    The shared offset makes the mean of a channel as uncertain as a single value, so that a network learns to make whole
    items dark or bright. Guttenberg, "Diffusion with Offset Noise" (2023), here kept at unit variance.

    Args:
        strength: k, the offset beside the noise of a single value.
    """

    gaussian = False
    stable = True

    def __init__(self, strength: float = 0.1) -> None:
        if not 0 <= strength < float("inf"):
            raise DiffkitError(
                f"strength={strength} is not an offset; give a number of 0 or more, such as strength=0.1"
            )
        self.strength = strength

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise ``(batch, channels, *spatial)``, drawn on ``device`` with a generator of that device."""
        noise = torch.randn(shape, generator=generator, device=device)
        offset = torch.randn((*shape[:2], *(1 for _ in shape[2:])), generator=generator, device=device)
        return noise.add_(offset, alpha=self.strength).div_(sqrt(1 + self.strength**2))


class PyramidNoise:
    """ε = Σ_k d^k z_k / √(Σ_k d^2k): z_k is standard normal noise on blocks of 2^k positions along every axis.

    The sum ends with the blocks that hold everything. Whitaker, "Multi-Resolution Noise for Diffusion Model Training"
    (2023), here without interpolation between blocks, so that the variance is 1 at every position.

    Args:
        discount: d, from 0 (white) to 1 (all sizes alike).
    """

    gaussian = False
    stable = True

    def __init__(self, discount: float = 0.5) -> None:
        if not 0 <= discount <= 1:
            raise DiffkitError(f"discount={discount} is out of range; give a number from 0 to 1, such as discount=0.5")
        self.discount = discount

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise ``(batch, channels, *spatial)``, drawn on ``device`` with a generator of that device."""
        noise = torch.randn(shape, generator=generator, device=device)
        levels = (max(shape[2:], default=1) - 1).bit_length()
        for k in range(1, levels + 1):
            blocks = [-(-size // 2**k) for size in shape[2:]]
            coarse = torch.randn((*shape[:2], *blocks), generator=generator, device=device)
            for axis, size in enumerate(shape[2:], start=2):
                coarse = coarse.repeat_interleave(2**k, axis).narrow(axis, 0, size)
            noise.add_(coarse, alpha=self.discount**k)
        return noise.div_(sqrt(sum(self.discount ** (2 * k) for k in range(levels + 1))))


class SpectrumNoise:
    """Noise whose power goes as 1/f (pink) or as f (blue), with f the length of the frequency over all spatial axes.

    White noise is filtered by its Fourier transform, so it is periodic and the same everywhere. The mean of a channel
    gets the power of the lowest frequency: at none is there no noise, or sampling could not choose it. Pink is the
    spectrum of many natural signals: all scales drown at about one level. Huang et al., "Blue Noise for Diffusion
    Models" (2024), on the other.

    Args:
        color: ``pink`` or ``blue``.
    """

    gaussian = False
    stable = True

    def __init__(self, color: Literal["pink", "blue"] = "pink") -> None:
        if color not in ("pink", "blue"):
            raise DiffkitError(f"color={color} is not known; give color=pink or color=blue")
        self.color = color

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise ``(batch, channels, *spatial)``, drawn on ``device`` with a generator of that device."""
        noise = torch.randn(shape, generator=generator, device=device)
        if max(shape[2:], default=1) == 1:
            return noise
        axes = tuple(range(2, len(shape)))
        waves = torch.fft.fftn(noise, dim=axes) * _amplitudes(tuple(shape[2:]), self.color, noise.device)
        return torch.fft.ifftn(waves, dim=axes).real.contiguous()


@lru_cache(maxsize=16)
def _amplitudes(spatial: tuple[int, ...], color: str, device: torch.device) -> Tensor:
    """Return f^(∓1/2) at every frequency, of mean square 1."""
    frequency = torch.zeros(spatial, dtype=torch.float64)
    for axis, size in enumerate(spatial):
        along = torch.fft.fftfreq(size, dtype=torch.float64)
        frequency += along.square().reshape([-1 if i == axis else 1 for i in range(len(spatial))])
    frequency = frequency.sqrt()
    frequency = frequency.clamp(min=frequency[frequency > 0].min())
    power = frequency if color == "blue" else 1 / frequency
    return (power / power.mean()).sqrt().to(device, torch.float32)
