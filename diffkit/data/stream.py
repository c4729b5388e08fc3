"""The stream of training batches: endless, shuffled, and a function of (seed, position) alone."""

from collections.abc import Mapping

import torch
from torch import Tensor

from diffkit.contracts.data import Dataset
from diffkit.streams import generator


class BatchStream:
    """Batches of a data set, by step.

    Every epoch is one permutation, drawn from (seed, epoch); step k takes positions k·batch_size and on. So a
    resumed run needs no state to see the batches it would have seen.
    """

    def __init__(self, dataset: Dataset, batch_size: int, seed: int) -> None:
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self._epoch, self._order = -1, torch.empty(0, dtype=torch.int64)

    def indices(self, step: int) -> list[int]:
        """Return which items step ``step`` (from 0) trains on."""
        start, found = step * self.batch_size, []
        size = len(self.dataset)
        position, end = start, start + self.batch_size
        while position < end:
            epoch, offset = divmod(position, size)
            take = min(end - position, size - offset)
            found.append(self._permutation(epoch)[offset : offset + take])
            position += take
        return torch.cat(found).tolist()

    def batch(self, step: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Return items ``(batch, channels, *shape)`` of step ``step``, and what is known of them by name."""
        return fetch(self.dataset, self.indices(step))

    def _permutation(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(len(self.dataset), generator=generator(self.seed, "epoch", epoch))
        return self._order


def fetch(dataset: Dataset, indices: list[int]) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the items at ``indices``, stacked, and what is known of them: ``label`` (int64) and each condition."""
    together = getattr(dataset, "__getitems__", None)
    items = together(indices) if together is not None else [dataset[i] for i in indices]
    known = [given if isinstance(given, Mapping) else {"label": given} for _, given in items]
    cond = {"label": torch.tensor([int(given.get("label", 0)) for given in known])}
    for one in dataset.spec.conditions:
        missing = one.null(dataset.spec.shape, 1)[0]
        cond[one.name] = torch.stack([torch.as_tensor(given.get(one.name, missing)).to(missing) for given in known])
    return torch.stack([x for x, _ in items]), cond
