"""The encoder ``mdct``: a sound as frames of a lapped cosine transform."""

import math

import torch
from torch import Tensor
from torch.nn.functional import pad

from diffkit import DataSpec, DiffkitError


class MDCT:
    """Frames of ``bands`` coefficients, channels by time: what a network for one axis finds easier than samples.

    The modified discrete cosine transform with the sine window (J. Princen and A. Bradley, 1986), as butterflies that
    fold each frame's edges into its neighbours' and a DCT-IV of each frame. Both are orthogonal and frames at the ends
    fold nothing, so that decoding is exact. There are as many coefficients as samples.

    A coefficient z is then compressed to sign(z) |z|^power, as in J. Richter et al., "Speech enhancement and
    dereverberation with diffusion-based generative models" (2023), eq. 1: quiet parts come within the network's reach,
    and what it leaves of noise in them is quieter by the inverse power.

    Args:
        spec: what the data is.
        bands: coefficients a frame, and samples from one frame to the next; even.
        power: the compression, above 0 to 1; 1 is none.
    """

    def __init__(self, spec: DataSpec, bands: int = 64, power: float = 0.5) -> None:
        if spec.rank != 1:
            raise DiffkitError(f"mdct encodes sounds, but the data has {spec.rank} axes; leave it out: encoder=null")
        if bands < 2 or bands % 2 or bands > spec.shape[0]:
            raise DiffkitError(
                f"bands={bands} is not an even number from 2 to {spec.shape[0]}, the length of the sounds; give one, "
                f"such as encoder.bands=64"
            )
        if not 0 < power <= 1:
            raise DiffkitError(f"power={power:g} is not above 0 and at most 1; give such as encoder.power=0.5")
        self.spec, self.bands, self.power = spec, bands, power
        frames = -(-spec.shape[0] // bands)
        self.latent = DataSpec(spec.channels * bands, (frames,), spec.labels, spec.std, spec.rate / bands)
        index = torch.arange(bands, dtype=torch.float64) + 0.5
        cosines = torch.cos(math.pi / bands * torch.outer(index, index)) * math.sqrt(2 / bands)
        angle = math.pi / 4 + math.pi / (2 * bands) * index[: bands // 2]
        self._cosines, self._window = cosines.float(), torch.stack((angle.sin(), angle.cos())).float()

    def encode(self, x: Tensor) -> Tensor:
        """Return ``(batch, channels * bands, frames)`` of sounds ``(batch, channels, samples)``."""
        x = pad(x, (0, self.latent.shape[0] * self.bands - x.shape[-1])).unflatten(-1, (-1, self.bands))
        z = self._folded(x, 1) @ self._cosines.to(x)
        z = z.mT.flatten(1, 2)
        return z.sign() * z.abs() ** self.power

    def decode(self, z: Tensor) -> Tensor:
        """Return the sounds ``(batch, channels, samples)`` of ``z``."""
        z = z.sign() * z.abs() ** (1 / self.power)
        frames = z.unflatten(1, (self.spec.channels, self.bands)).mT
        x = self._folded(frames @ self._cosines.to(z), -1)
        return x.flatten(2)[..., : self.spec.shape[0]]

    def _folded(self, x: Tensor, sign: int) -> Tensor:
        """Return frames ``(..., frames, bands)`` with each edge rotated against the mirrored edge beyond it."""
        half = self.bands // 2
        sine, cosine = self._window.to(x)
        end, start = x[..., :-1, half:].flip(-1), x[..., 1:, :half]
        y = x.clone()
        y[..., 1:, :half] = sine * start + sign * cosine * end
        y[..., :-1, half:] = (sine * end - sign * cosine * start).flip(-1)
        return y
