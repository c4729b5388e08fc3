"""The exponential moving average of a network's parameters, which samples are drawn with."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class EMA:
    """An average of parameters with decay ``decay``, faster in the first steps: min(decay, (1 + k) / (10 + k)).

    Args:
        net: the network whose parameters are averaged; buffers are not.
        decay: in [0, 1); 0 follows the parameters.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self.decay = decay
        self._live: Sequence[Tensor] = [p.detach() for p in net.parameters()]
        self.names = [name for name, _ in net.named_parameters()]
        self.average: list[Tensor] = [p.clone() for p in self._live]

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the average towards the parameters after step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self.average, list(self._live), 1 - decay)

    @contextmanager
    def swapped(self) -> Iterator[None]:
        """Put the average into the network for a while."""
        kept = [p.clone() for p in self._live]
        torch._foreach_copy_(list(self._live), self.average)
        try:
            yield
        finally:
            torch._foreach_copy_(list(self._live), kept)

    def state(self) -> dict[str, Tensor]:
        """Return the average by parameter name."""
        return dict(zip(self.names, self.average, strict=True))

    def load(self, state: dict[str, Tensor]) -> None:
        """Take the average over from :meth:`state`."""
        torch._foreach_copy_(self.average, [state[name] for name in self.names])
