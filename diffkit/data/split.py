"""A part of a data set held out from training, to validate on."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from diffkit.contracts.data import Dataset
from diffkit.errors import DiffkitError
from diffkit.streams import generator

Item = tuple[Tensor, int | Mapping[str, Any]]


class Part:
    """Some items of a data set, in an order of their own.

    Args:
        whole: the data set.
        indices: which of its items.
    """

    def __init__(self, whole: Dataset, indices: Sequence[int]) -> None:
        self.whole, self.indices = whole, indices
        self.modality, self.spec = whole.modality, whole.spec
        known: Sequence[int] | None = getattr(whole, "labels", None)
        self.labels = None if known is None else [known[index] for index in indices]
        shares: Any = getattr(whole, "shares", None)
        self.shares = None if shares is None else [(self._places(items), weight) for items, weight in shares]

    def __len__(self) -> int:
        return len(self.indices)

    def _places(self, items: Sequence[int]) -> list[int]:
        """Return the places, in this part, of those of ``items`` that are in it."""
        wanted = set(items)
        return [place for place, index in enumerate(self.indices) if index in wanted]

    def __getitem__(self, index: int) -> Item:
        return self.whole[self.indices[index]]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        together = getattr(self.whole, "__getitems__", None)
        chosen = [self.indices[index] for index in indices]
        return together(chosen) if together is not None else [self.whole[index] for index in chosen]


def split(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Dataset]:
    """Return what to train on and what is held out: the data set's own ``held_out``, or a random ``share`` of it.

    Raises:
        DiffkitError: where nothing would be left on one side.
    """
    own = getattr(dataset, "held_out", None)
    if own is not None:
        return dataset, own
    n = round(share * len(dataset))
    if not 0 < n < len(dataset):
        raise DiffkitError(
            f"train.held_out={share} of {len(dataset)} items leaves nothing on one side; give another share"
        )
    order = torch.randperm(len(dataset), generator=generator(seed, "held out")).tolist()
    return Part(dataset, sorted(order[n:])), Part(dataset, sorted(order[:n]))
