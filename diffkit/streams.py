"""Random numbers that depend on what they are for, never on what was drawn before.

Every draw is keyed by words and numbers: (seed, "times", step) in training, (seed, index, step) in sampling. So
resuming needs no generator's state, and sample 7 is the same tensor in a batch of 1 or of 64.
"""

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from diffkit.errors import DiffkitError

if TYPE_CHECKING:
    from diffkit.contracts.objective import Noise


def key(*parts: int | str) -> int:
    """Return a 63-bit seed for ``parts``, the same on every machine and in every version of Python."""
    digest = hashlib.blake2b("\x1f".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*parts: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a generator seeded by :func:`key` of ``parts``."""
    return torch.Generator(device).manual_seed(key(*parts))


class Streams:
    """One random stream a sample.

    Args:
        seed: the run's seed.
        indices: the index of each sample of the batch in the whole sampling.
        noise: the noise model; standard normal where none is given.
    """

    def __init__(self, seed: int, indices: Sequence[int], noise: "Noise | None" = None) -> None:
        self.seed, self.indices, self.noise = seed, indices, noise
        self._generator = torch.Generator()

    def draw(self, shape: tuple[int, ...], step: int, like: Tensor | None = None) -> Tensor:
        """Return unit noise ``(batch, *shape)`` for a step (0 is the start), drawn on the host, sample by sample.

        Raises:
            DiffkitError: for a later step, where noise of the model's kind does not add up to noise of its kind.
        """
        if step and not getattr(self.noise, "stable", getattr(self.noise, "gaussian", True)):
            raise DiffkitError(
                f"the sampler adds noise on the way, which is wrong under {type(self.noise).__name__}: its sums follow "
                f"another law; choose a deterministic one, such as sampler=ddim, or train with noise=normal"
            )
        drawn = torch.empty(len(self.indices), *shape)
        for sample, index in zip(drawn, self.indices, strict=True):
            self._generator.manual_seed(key(self.seed, index, step))
            if self.noise is None:
                sample.normal_(generator=self._generator)
            else:
                sample.copy_(self.noise((1, *shape), self._generator)[0])
        return drawn if like is None else drawn.to(like, non_blocking=True)
