"""Averages of a network's parameters over its training: what samples are drawn with."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial

import torch
from torch import Tensor, nn

from diffkit.parallel import local
from diffkit.profiles import exponent, newest_weight


class EMA:
    """Exponential and power-function averages of parameters, side by side; the first is what samples are drawn with.

    An exponential one with decay d is faster in the first steps: min(d, (1 + k) / (10 + k)). A power-function one, of
    which :mod:`diffkit.profiles` says more, is given by its relative length.

    Args:
        net: the network whose parameters are averaged; buffers are not, nor what is frozen.
        decays: one or several, in [0, 1); 0 follows the parameters.
        lengths: relative lengths, above 0 and below 0.2887, such as 0.05 and 0.1.

    Attributes:
        powers: the files of :meth:`state` with the power-function ones, from which others can be made later.

    Raises:
        DiffkitError: where a length is out of range.
    """

    def __init__(self, net: nn.Module, decays: float | Sequence[float], lengths: Sequence[float] = ()) -> None:
        first, *others = [decays] if isinstance(decays, int | float) else decays
        self._shares: dict[str, Callable[[int], float]] = {"ema": partial(_exponential, first)}
        self._shares |= {decay_file(decay): partial(_exponential, decay) for decay in others}
        powers = {length_file(length): partial(_power, exponent(length)) for length in lengths}
        self._shares |= powers
        self.powers = tuple(powers)
        trained = {name: p.detach() for name, p in net.named_parameters() if p.requires_grad}
        self.names = list(trained)
        self._live: list[Tensor] = list(trained.values())
        self.averages = {file: [p.clone() for p in self._live] for file in self._shares}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Move the averages towards the parameters after step ``step`` (from 0)."""
        for file, share in self._shares.items():
            torch._foreach_lerp_(local(self.averages[file]), local(self._live), share(step))

    @contextmanager
    def swapped(self, file: str = "ema") -> Iterator[None]:
        """Put an average into the network for a while: the first, or that of a file of :meth:`state`."""
        kept = [p.clone() for p in self._live]
        torch._foreach_copy_(local(self._live), local(self.averages[file]))
        try:
            yield
        finally:
            torch._foreach_copy_(local(self._live), local(kept))

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Return the averages by file and parameter name: ``ema``, the first; ``ema-<decay>``; ``length-<length>``."""
        return {file: dict(zip(self.names, average, strict=True)) for file, average in self.averages.items()}

    def load(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take the averages over from :meth:`state`."""
        for file, average in self.averages.items():
            torch._foreach_copy_(local(average), local(state[file][name] for name in self.names))


def decay_file(decay: float) -> str:
    """Return the name in checkpoints of an exponential average besides the first."""
    return f"ema-{decay}"


def length_file(length: float) -> str:
    """Return the name in checkpoints of a power-function average."""
    return f"length-{length}"


def _exponential(decay: float, step: int) -> float:
    return 1 - min(decay, (1 + step) / (10 + step))


def _power(gamma: float, step: int) -> float:
    return newest_weight(gamma, step + 1)
