"""Several data sets as one."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from torch import Tensor

from diffkit import ConditionSpec, DataSpec, DiffkitError, build
from diffkit.contracts.data import Dataset

MOST = 1_000_000
"""The largest sum of weights: an epoch is at least as long."""

Item = tuple[Tensor, int | Mapping[str, Any]]


class Mixture:
    """Several data sets of one form, drawn by weights.

    Of every sum of weights items, each data set gives exactly as many as its weight says, and all its items in turn;
    which ones come when depends on the seed and the step alone. Without weights all items of all data sets are drawn
    alike. Classes of the same name are one class. Items of a data set without classes, or without a condition that
    another has, are trained on as those of which it is unknown.

    Args:
        sets: the data sets: names, or mappings of ``name`` and options.
        weights: whole numbers above 0, one a data set.
    """

    def __init__(self, sets: list[str | Mapping[str, Any]], weights: list[int] | None = None) -> None:
        self.sets: list[Dataset] = [build("data", one) if isinstance(one, str | Mapping) else one for one in sets]
        self.names = [_name(one) for one in sets]
        for name, one in zip(self.names, self.sets, strict=True):
            if len(one) == 0:
                raise DiffkitError(f"'{name}' is empty; leave it out of data.sets")
        if not self.sets:
            raise DiffkitError("sets is empty; name some data sets: data.sets=[digits,image_folder]")
        self._ends = list(accumulate(map(len, self.sets)))
        self._starts = [0, *self._ends[:-1]]
        self.modality = self.sets[0].modality
        self.spec = self._common()
        self._label = [[self.spec.labels.index(name) for name in one.spec.labels] for one in self.sets]
        self.labels = self._labels()
        self.shares = None if weights is None else self._weighted(weights)

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        found: dict[int, Item] = {}
        numbers = [bisect_right(self._ends, index) for index in indices]
        for number in set(numbers):
            one, start = self.sets[number], self._starts[number]
            chosen = [index for index, its in zip(indices, numbers, strict=True) if its == number]
            together = getattr(one, "__getitems__", None)
            inner = [index - start for index in chosen]
            items = together(inner) if together is not None else [one[index] for index in inner]
            found |= {index: (x, self._told(number, told)) for index, (x, told) in zip(chosen, items, strict=True)}
        return [found[index] for index in indices]

    def _told(self, number: int, told: int | Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what is known of an item, its label as the mixture counts."""
        known = dict(told) if isinstance(told, Mapping) else {"label": told}
        label, names = known.pop("label", None), self._label[number]
        return {**known, "label": names[label]} if names and label is not None else known

    def _common(self) -> DataSpec:
        """Return the spec of the mixture: one form, all classes, all conditions."""
        first = self.sets[0].spec
        labels: dict[str, None] = {}
        conditions: dict[str, ConditionSpec] = {}
        for name, one in zip(self.names, self.sets, strict=True):
            for what, mine, others in (
                ("modality", one.modality, self.modality),
                ("channels", one.spec.channels, first.channels),
                ("shape", one.spec.shape, first.shape),
                ("rate", one.spec.rate, first.rate),
            ):
                if mine != others:
                    raise DiffkitError(
                        f"'{name}' has the {what} {mine}, but '{self.names[0]}' has {others}; give them "
                        f"options that make them alike, as in {{name: image_folder, path: FOLDER, size: 8}}"
                    )
            labels |= dict.fromkeys(one.spec.labels)
            for condition in one.spec.conditions:
                if conditions.setdefault(condition.name, condition) != condition:
                    raise DiffkitError(f"'{name}' has another '{condition.name}' than the data sets before it")
        return replace(first, labels=tuple(labels), conditions=tuple(conditions.values()))

    def _labels(self) -> list[int] | None:
        """Return the label of every item, the null label for those without; nothing where a data set lists none."""
        found: list[int] = []
        for one, names in zip(self.sets, self._label, strict=True):
            known: Sequence[int] | None = getattr(one, "labels", None)
            if known is None and names:
                return None
            found += [names[label] for label in known or ()] if names else [len(self.spec.labels)] * len(one)
        return found

    def _weighted(self, weights: list[int]) -> list[tuple[range, int]]:
        if len(weights) != len(self.sets) or min(weights) < 1 or sum(weights) > MOST:
            raise DiffkitError(
                f"weights={list(weights)} does not fit {len(self.sets)} data sets; give each a whole number "
                f"from 1, all together at most {MOST:,}, such as data.weights=[1,2]"
            )
        return [
            (range(start, end), weight) for start, end, weight in zip(self._starts, self._ends, weights, strict=True)
        ]


def _name(one: str | Mapping[str, Any] | Dataset) -> str:
    """Return what a data set is called in an error."""
    if isinstance(one, str):
        return one
    return str(one.get("name")) if isinstance(one, Mapping) else type(one).__name__
