"""What a training step draws at random: for each item the same however its batch is divided, among ranks or in time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from diffkit.contracts.data import Augmentation
from diffkit.denoiser import Denoiser
from diffkit.parallel import Ranks
from diffkit.streams import generator, key

BLOCK = 32
"""How many items of the whole batch share a stream of what is drawn for each value of an item."""


class Draws:
    """What one rank draws for its rows of a batch: a function of the seed, the step and the place in the whole batch.

    Args:
        denoiser: says of which law times and noise are.
        seed: of the training.
        batch_size: of all ranks together.
        ranks: that share the batch.

    Attributes:
        rows: which of the whole batch are this rank's.
    """

    def __init__(self, denoiser: Denoiser, seed: int, batch_size: int, ranks: Ranks) -> None:
        self.denoiser, self.seed, self.batch_size, self.rank = denoiser, seed, batch_size, ranks.rank
        self.rows = ranks.share(batch_size)
        self.device = next(denoiser.net.parameters()).device
        self._generator = torch.Generator(self.device)
        self._when: tuple[int, ...] = (0,)

    def at(self, step: int, failures: int) -> None:
        """Draw for a step from now on; one that is taken again after a failure has other draws."""
        self._when = (step, failures) if failures else (step,)

    def times(self) -> Tensor:
        """Return the times of this rank's items."""
        drawn = self.denoiser.draw_times(self.batch_size, generator(*self._for("times")))
        return drawn[self.rows.start : self.rows.stop]

    def noise(self, x0: Tensor, rows: slice) -> Tensor:
        """Return noise for some rows of this rank's batch."""
        drawn = []
        for start, n, own in self._blocks(self.rows.start + rows.start, self.rows.start + rows.stop):
            self._generator.manual_seed(key(*self._for("noise"), start))
            drawn.append(self.denoiser.draw_noise(x0[:1].expand(n, *x0.shape[1:]), self._generator)[own])
        return drawn[0] if len(drawn) == 1 else torch.cat(drawn)

    def augmented(self, x: Tensor, augment: Augmentation) -> Tensor:
        """Return this rank's items changed; where others of their block are another rank's, copies stand for them."""
        changed = []
        for start, n, own in self._blocks(self.rows.start, self.rows.stop):
            first = start + own.start - self.rows.start
            ours = x[first : first + own.stop - own.start]
            before, after = (x[:1].expand(others, *x.shape[1:]) for others in (own.start, n - own.stop))
            block = ours if len(ours) == n else torch.cat((before, ours, after))
            changed.append(augment(block, generator(*self._for("augment"), start))[own])
        return torch.cat(changed)

    def dropped(self, cond: dict[str, Tensor], share: float) -> dict[str, Tensor]:
        """Return conditions with all of those of a share of the items missing."""
        if not (cond and share):
            return cond
        drawn = torch.rand(self.batch_size, generator=generator(*self._for("condition")))
        return self.denoiser.null(cond, drawn[self.rows.start : self.rows.stop] < share)

    def seed_network(self) -> None:
        """Seed what the network draws itself, such as dropout, which alone depends on how a batch is divided."""
        seed = key(*self._for("net"), self.rank)
        # Not torch.manual_seed: without a GPU that queues a call, with a traceback, for each kind of device.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _blocks(self, first: int, last: int) -> Iterator[tuple[int, int, slice]]:
        """Yield of each block with rows from ``first`` to ``last`` of the whole batch the start, the size and these."""
        for start in range(first // BLOCK * BLOCK, last, BLOCK):
            n = min(BLOCK, self.batch_size - start)
            yield start, n, slice(max(0, first - start), min(n, last - start))

    def _for(self, what: str) -> tuple[int | str, ...]:
        return (self.seed, what, *self._when)
