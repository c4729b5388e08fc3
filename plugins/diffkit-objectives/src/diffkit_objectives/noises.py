"""The noise of the forward process."""

import torch
from torch import Generator, Tensor


class NormalNoise:
    """Independent standard normal noise."""

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise of ``shape``, drawn on ``device`` with a generator of that device."""
        return torch.randn(shape, generator=generator, device=device)
