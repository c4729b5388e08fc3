"""Which item stands at which place of the endless stream: a function of (seed, place) alone."""

from collections.abc import Sequence
from math import gcd, lcm
from typing import Any

import torch
from torch import Tensor

from diffkit.contracts.data import Dataset
from diffkit.data.fetch import fetch
from diffkit.errors import DiffkitError
from diffkit.streams import generator

AT_ONCE = 256
"""How many items are fetched at once where a data set does not list its labels."""


class Order:
    """Epochs of shuffled items, one after the other, in which every share has its exact part.

    Each share deals out its items without replacement, in a new order each time around. An epoch takes as many of each
    as its weight says, a whole number, and shuffles them together. It is as long as the data, or a little longer where
    the weights have to divide it; so an epoch of one share is a permutation of its items.

    Args:
        shares: items and how often they are drawn: ``weight`` of every sum of weights.
        seed: of the permutations.
    """

    def __init__(self, shares: Sequence[tuple[Tensor, int]], seed: int) -> None:
        self.seed, self.shares = seed, [items for items, _ in shares if len(items)]
        weights = [weight for items, weight in shares if len(items)]
        common = gcd(*weights)
        unit = sum(weights) // common
        rounds = -(-sum(map(len, self.shares)) // unit)
        self.counts = [rounds * weight // common for weight in weights]
        self.length = rounds * unit
        self._epoch, self._items = -1, torch.empty(0, dtype=torch.int64)

    def items(self, start: int, stop: int) -> list[int]:
        """Return the items at places ``start`` to ``stop``, without the last."""
        found = []
        while start < stop:
            epoch, offset = divmod(start, self.length)
            found.append(self._shuffled(epoch)[offset : offset + stop - start])
            start += len(found[-1])
        return torch.cat(found).tolist() if found else []

    def _shuffled(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            dealt = torch.cat([self._dealt(share, epoch) for share in range(len(self.shares))])
            order = torch.randperm(self.length, generator=generator(self.seed, "epoch", epoch))
            self._epoch, self._items = epoch, dealt[order]
        return self._items

    def _dealt(self, share: int, epoch: int) -> Tensor:
        """Return what a share gives to an epoch."""
        items, count = self.shares[share], self.counts[share]
        if count == len(items):  # all of them, and the epoch's shuffle follows
            return items
        first, start = divmod(epoch * count, len(items))
        last = ((epoch + 1) * count - 1) // len(items)
        rounds = [
            items[torch.randperm(len(items), generator=generator(self.seed, "share", share, around))]
            for around in range(first, last + 1)
        ]
        return torch.cat(rounds)[start : start + count]


def shares(dataset: Dataset, balance: bool = False) -> list[tuple[Tensor, int]]:
    """Return how often a data set wants its items drawn; with ``balance``, all classes of each share alike.

    Raises:
        DiffkitError: where there are no labels to balance by.
    """
    given: Any = getattr(dataset, "shares", None)
    if given is None:
        given = [(torch.arange(len(dataset)), 1)]
    parts = [(torch.as_tensor(items, dtype=torch.int64), int(weight)) for items, weight in given]
    if not balance:
        return parts
    if not dataset.spec.labels:
        raise DiffkitError("train.balance=true wants classes, and the data has none; leave it out")
    label = torch.tensor(labels(dataset))
    classes = [[items[label[items] == one] for one in sorted(set(label[items].tolist()))] for items, _ in parts]
    whole = lcm(*(len(split) for split in classes if split))
    return [
        (items, weight * whole // len(split))
        for split, (_, weight) in zip(classes, parts, strict=True)
        for items in split
    ]


def labels(dataset: Dataset) -> list[int]:
    """Return the label of every item, fetching items only where the data set does not list them itself."""
    known: Sequence[int] | None = getattr(dataset, "labels", None)
    if known is not None:
        return list(known)
    found: list[int] = []
    for start in range(0, len(dataset), AT_ONCE):
        _, cond = fetch(dataset, list(range(start, min(start + AT_ONCE, len(dataset)))))
        found += cond["label"].tolist()
    return found
