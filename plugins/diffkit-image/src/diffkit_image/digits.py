"""Real handwritten digits that come with scikit-learn."""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError

TRAINING = 0.7
"""The share of every class that is trained on."""


class Digits:
    """1,797 handwritten digits of 8x8 pixels in 17 shades, labelled ``"0"`` to ``"9"``.

    They are the test set of the "Optical Recognition of Handwritten Digits" of the UCI repository (Alpaydin & Kaynak,
    1998), as scikit-learn ships it. Values v of 0..16 become v/8 - 1.

    Args:
        split: ``"train"`` (1,258 digits), ``"held_out"`` (the other 539) or ``"all"``. The split is fixed, and every
            class has the same share in both parts.
    """

    modality = "image"

    def __init__(self, split: Literal["train", "held_out", "all"] = "train") -> None:
        if split not in ("train", "held_out", "all"):
            raise DiffkitError(f"split={split} is not a part of the digits; give train, held_out or all")
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        chosen = np.arange(len(labels)) if split == "all" else _part(labels, held_out=split == "held_out")
        self._items = torch.from_numpy(images[chosen]).float().view(-1, 1, 8, 8) / 8 - 1
        self.labels: list[int] = labels[chosen].tolist()
        self.spec = DataSpec(channels=1, shape=(8, 8), labels=tuple("0123456789"))
        self.split = split

    @property
    def held_out(self) -> "Digits | None":
        """The digits that are held out from the training part."""
        return Digits("held_out") if self.split == "train" else None

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._items[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        return [(x, self.labels[i]) for x, i in zip(self._items[indices].unbind(), indices, strict=True)]


def _part(labels: np.ndarray, held_out: bool) -> np.ndarray:
    """Return which digits are held out, or are not; numpy never changes what RandomState draws."""
    random, found = np.random.RandomState(0), []
    for label in range(10):
        members = random.permutation(np.flatnonzero(labels == label))
        cut = round(TRAINING * len(members))
        found.append(members[cut:] if held_out else members[:cut])
    return np.sort(np.concatenate(found))
