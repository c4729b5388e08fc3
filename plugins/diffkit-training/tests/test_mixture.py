"""Several data sets as one: their classes, their conditions and their exact parts."""

from collections import Counter

import pytest
import torch
from diffkit_training import Mixture

from diffkit import ConditionSpec, DataSpec, DiffkitError, build, compose
from diffkit.data.fetch import fetch
from diffkit.data.split import split
from diffkit.data.stream import BatchStream


class Constant:
    """All items are one value; labels take turns."""

    modality = "numbers"

    def __init__(self, value, size, labels=(), together=False, **spec):
        self.value, self.size = value, size
        self.spec = DataSpec(**{"channels": 1, "shape": (2,), "labels": labels, **spec})
        self.labels = [i % max(len(labels), 1) for i in range(size)]
        if together:
            self.__getitems__ = lambda indices: [self[i] for i in indices]

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.full((1, 2), float(self.value)), self.labels[index]


def values(data, indices):
    return fetch(data, indices)[0][:, 0, 0].tolist()


def drawn(data, **how):
    stream = BatchStream(data, 10, 0, **how)
    indices = [index for step in range(stream.order.length) for index in stream.indices(step)]
    x, cond = fetch(data, indices)
    return x[:, 0, 0].tolist(), cond["label"].tolist()


def test_items_follow_one_another_set_by_set():
    data = Mixture([Constant(1, 3, together=True), Constant(2, 1), Constant(3, 2)])
    assert len(data) == 6
    assert values(data, [0, 2, 3, 4, 5]) == [1, 1, 2, 3, 3]
    assert values(data, [5, 0, 5, 3]) == [3, 1, 3, 2]
    assert data[3][0][0, 0] == 2
    with pytest.raises(IndexError):
        data[6]


def test_classes_of_the_same_name_are_one_class():
    data = Mixture([Constant(1, 4, ("cat", "dog")), Constant(2, 4, ("dog", "emu"))])
    assert data.spec.labels == ("cat", "dog", "emu")
    assert fetch(data, list(range(8)))[1]["label"].tolist() == [0, 1, 0, 1, 1, 2, 1, 2]
    assert data.labels == [0, 1, 0, 1, 1, 2, 1, 2]


def test_items_without_classes_or_conditions_are_those_of_which_they_are_unknown():
    condition = ConditionSpec("when", "values", 1)
    plain, told = Constant(1, 2), Constant(2, 2, ("a", "b"), conditions=(condition,))
    told.__class__ = type("Told", (Constant,), {"__getitem__": lambda self, i: (torch.zeros(1, 2), {"when": [0.5]})})
    data = Mixture([plain, told, Constant(3, 2, ("b",))])
    _, cond = fetch(data, [0, 2, 4])
    assert cond["label"].tolist() == [2, 2, 1]
    assert cond["when"].isnan().flatten().tolist() == [True, False, True]
    assert data.labels == [2, 2, 0, 1, 1, 1]


def test_every_set_has_exactly_its_part():
    counts = Counter(drawn(Mixture([Constant(1, 100), Constant(2, 7), Constant(3, 40)], weights=[3, 1, 4]))[0])
    assert (counts[1], counts[3]) == (3 * counts[2], 4 * counts[2])


def test_without_weights_all_items_are_drawn_alike():
    data = Mixture([Constant(1, 30), Constant(2, 10)])
    assert Counter(BatchStream(data, 40, 0).indices(5)) == Counter(range(40))


def test_balance_is_within_each_set_and_what_is_held_out_of_each():
    data = Mixture([Constant(1, 60, ("a", "b")), Constant(2, 60, ("a", "c", "d"))], weights=[1, 1])
    for part in (data, *split(data, 0.3, 0)):
        counts = Counter(zip(*drawn(part, balance=True), strict=True))
        assert len({counts[1, label] for label in (0, 1)}) == 1
        assert len({counts[2, label] for label in (0, 2, 3)}) == 1
        assert counts[1, 0] * 2 == counts[2, 0] * 3


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": (3,)}, r"'Constant' has the shape \(3,\), but 'Constant' has \(2,\)"),
        ({"channels": 2}, "has the channels 2"),
        ({"rate": 8.0}, "has the rate 8"),
    ],
    ids=["shape", "channels", "rate"],
)
def test_data_sets_of_another_form_are_refused(change, said):
    with pytest.raises(DiffkitError, match=said):
        Mixture([Constant(1, 3), Constant(2, 3, **change)])


@pytest.mark.parametrize("weights", [[1], [0, 1], [1, 2, 3], [1, 10**6]], ids=str)
def test_weights_that_do_not_fit_are_refused(weights):
    with pytest.raises(DiffkitError, match=r"data\.weights=\[1,2\]"):
        Mixture([Constant(1, 3), Constant(2, 3)], weights=weights)


def test_no_sets_and_empty_sets_are_refused():
    with pytest.raises(DiffkitError, match="sets is empty"):
        Mixture([])
    with pytest.raises(DiffkitError, match="'Constant' is empty"):
        Mixture([Constant(1, 3), Constant(1, 0)])


def test_words_choose_data_sets_and_their_options():
    for plugin in ("image", "nets", "objectives", "samplers", "schedules"):
        pytest.importorskip(f"diffkit_{plugin}")
    config = compose("data=mixture", "data.sets=[digits,{name: digits, split: held_out}]", "data.weights=[1,2]")
    data = build("data", config.data)
    assert (data.names, len(data)) == (["digits", "digits"], 1797)
    assert data.shares == [(range(1258), 1), (range(1258, 1797), 2)]
    assert torch.equal(data[1258][0], build("data", "digits", split="held_out")[0][0])
    with pytest.raises(DiffkitError, match="data 'digit' is not installed"):
        build("data", compose("data=mixture", "data.sets=[digit]").data)
