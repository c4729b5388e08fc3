"""Mirroring left to right."""

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError


class Flip:
    """Mirror the last axis of each item with probability ``p``: left and right of pictures and clips.

    Args:
        p: the share of items that are mirrored, in [0, 1].
        spec: what the items are.

    Raises:
        DiffkitError: for a share that is none, or items without a left and a right.
    """

    def __init__(self, p: float = 0.5, spec: DataSpec | None = None) -> None:
        if not 0 <= p <= 1:
            raise DiffkitError(f"p={p} is not a probability; give a number from 0 to 1: augment.p=0.5")
        if spec is not None and spec.rank < 2:
            raise DiffkitError(
                "it mirrors left and right, which sounds have none of, and would play them backwards; leave it out: "
                "augment=null"
            )
        self.p = p

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Return ``x`` ``(batch, channels, *shape)`` with some items mirrored, as drawn with host ``generator``."""
        chosen = (torch.rand(len(x), generator=generator) < self.p).to(x.device)
        return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
