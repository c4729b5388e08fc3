"""Training batches: endless, shuffled, and a function of (seed, position) alone."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffkit import DataSpec, DiffkitError
from diffkit.data.fetch import fetch
from diffkit.data.order import Order
from diffkit.data.split import Part, split
from diffkit.data.stream import BatchStream


class Numbers:
    """Item i is the number i, with label i modulo 3."""

    modality = "numbers"

    def __init__(self, size):
        self.size = size
        self.spec = DataSpec(1, (2,), ("a", "b", "c"))

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return torch.full((1, 2), float(index)), index % 3


class Together(Numbers):
    """The same, fetched a batch at a time."""

    def __getitems__(self, indices):
        self.fetched = indices
        return [self[i] for i in indices]


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 50), seed=st.integers(0, 5))
def test_every_epoch_sees_every_item_once(size, batch, seed):
    stream = BatchStream(Numbers(size), batch, seed)
    seen = [i for step in range(-(-3 * size // batch)) for i in stream.indices(step)]
    for epoch in range(3):
        assert Counter(seen[epoch * size : (epoch + 1) * size]) == Counter(range(size))


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 40), batch=st.integers(1, 50), steps=st.lists(st.integers(0, 30), min_size=1))
def test_a_batch_depends_on_its_step_and_not_on_the_batches_before(size, batch, steps):
    once = {step: BatchStream(Numbers(size), batch, 1).indices(step) for step in steps}
    stream = BatchStream(Numbers(size), batch, 1)
    assert all(stream.indices(step) == once[step] for step in steps)


def test_a_batch_is_full_even_where_the_data_is_smaller():
    assert len(BatchStream(Numbers(3), 8, 0).indices(5)) == 8


def test_seeds_and_epochs_shuffle_differently():
    orders = [BatchStream(Numbers(50), 50, seed).indices(epoch) for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4
    assert all(order != sorted(order) for order in orders)


@pytest.mark.parametrize("kind", [Numbers, Together])
def test_items_arrive_stacked_with_their_own_labels(kind):
    x, cond = BatchStream(kind(10), 4, 0).batch(1)
    label = cond["label"]
    assert x.shape == (4, 1, 2)
    assert label.dtype == torch.int64
    assert label.tolist() == [int(value) % 3 for value in x[:, 0, 0]]


def test_a_data_set_that_can_fetch_a_batch_is_asked_once():
    data = Together(10)
    fetch(data, [3, 1, 2])
    assert data.fetched == [3, 1, 2]


def test_an_item_without_a_label_has_the_null_label():
    class Some(Numbers):
        def __getitem__(self, index):
            x, label = super().__getitem__(index)
            return x, {"label": label} if index % 2 else {}

    assert fetch(Some(4), [0, 1, 2, 3])[1]["label"].tolist() == [3, 1, 3, 0]


# How often items are drawn

SHARES = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 7)), min_size=1, max_size=4)


def laid_out(sizes_and_weights):
    """Return shares of consecutive items, of the sizes and weights given."""
    ends = torch.tensor([size for size, _ in sizes_and_weights]).cumsum(0).tolist()
    sizes = [size for size, _ in sizes_and_weights]
    return [
        (torch.arange(end - size, end), weight)
        for size, end, (_, weight) in zip(sizes, ends, sizes_and_weights, strict=True)
    ]


@settings(max_examples=60, deadline=None)
@given(given_=SHARES, seed=st.integers(0, 3))
def test_every_epoch_has_exactly_the_weights_parts_of_every_share(given_, seed):
    shares, whole = laid_out(given_), sum(weight for _, weight in given_)
    order = Order(shares, seed)
    assert order.length >= sum(size for size, _ in given_)
    for epoch in range(3):
        drawn = Counter(order.items(epoch * order.length, (epoch + 1) * order.length))
        for items, weight in shares:
            assert sum(drawn[item] for item in items.tolist()) * whole == order.length * weight


@settings(max_examples=60, deadline=None)
@given(given_=SHARES, seed=st.integers(0, 3))
def test_a_share_deals_out_all_its_items_before_one_comes_again(given_, seed):
    shares = laid_out(given_)
    order = Order(shares, seed)
    drawn = order.items(0, 4 * order.length)
    for items, _ in shares:
        own = [item for item in drawn if item in set(items.tolist())]
        counts = Counter(own)
        assert max(counts.values()) - min(counts[item] for item in items.tolist()) <= 1


@settings(max_examples=30, deadline=None)
@given(given_=SHARES, start=st.integers(0, 200), cut=st.integers(0, 50), length=st.integers(0, 50))
def test_what_stands_at_a_place_depends_on_nothing_else(given_, start, cut, length):
    order = Order(laid_out(given_), 1)
    whole = order.items(start, start + cut + length)
    fresh = Order(laid_out(given_), 1)
    assert fresh.items(start + cut, start + cut + length) == whole[cut:]


def test_shares_take_turns_within_an_epoch():
    order = Order([(torch.arange(100), 1), (torch.arange(100, 200), 1)], 0)
    firsts = [sum(item < 100 for item in order.items(start, start + 20)) for start in range(0, 200, 20)]
    assert min(firsts) > 2
    assert max(firsts) < 18


class Skewed(Numbers):
    """Nine items of ten have the first label."""

    def __getitem__(self, index):
        return torch.full((1, 2), float(index)), 0 if index % 10 else 1 + index // 10 % 2


class Listed(Skewed):
    """The same, whose items cannot be asked for."""

    labels = property(lambda self: [Skewed.__getitem__(self, index)[1] for index in range(self.size)])

    def __getitem__(self, index):
        raise AssertionError


@pytest.mark.parametrize("kind", [Skewed, Listed])
def test_balance_draws_all_classes_alike(kind):
    stream = BatchStream(kind(200), 10, 0, balance=True)
    assert stream.order.length == 201
    drawn = [index for step in range(201) for index in stream.indices(step)]
    labels = Counter(Skewed(200)[index][1] for index in drawn)
    assert labels == {0: 670, 1: 670, 2: 670}
    assert set(drawn) == set(range(200))


def test_balance_keeps_the_proportions_of_shares():
    data = Skewed(40)
    data.shares = [(range(0, 15), 1), (range(15, 40), 3)]  # of labels 0 and 1 and 2; of 0, 1 and 2
    stream = BatchStream(data, 8, 0, balance=True)
    drawn = stream.order.items(0, stream.order.length)
    label = {index: data[index][1] for index in drawn}
    counts = Counter((index >= 15, label[index]) for index in drawn)
    whole = stream.order.length
    assert {key: count / whole for key, count in counts.items()} == {
        **{(False, one): 1 / 12 for one in range(3)},
        **{(True, one): 1 / 4 for one in range(3)},
    }


def test_data_without_classes_cannot_be_balanced():
    data = Numbers(8)
    data.spec = DataSpec(1, (2,))
    with pytest.raises(DiffkitError, match=r"train.balance=true wants classes"):
        BatchStream(data, 4, 0, balance=True)


# What is held out


def test_a_split_is_two_parts_that_are_the_whole_and_the_same_each_time():
    data = Numbers(50)
    (kept, held), again, other = split(data, 0.1, 3), split(data, 0.1, 3), split(data, 0.1, 4)
    assert (len(kept), len(held)) == (45, 5)
    assert sorted([*kept.indices, *held.indices]) == list(range(50))
    assert (kept.indices, held.indices) == (again[0].indices, again[1].indices)
    assert held.indices != other[1].indices
    assert [int(kept[i][0][0, 0]) for i in range(45)] == kept.indices
    assert fetch(held, [4, 0])[1]["label"].tolist() == [held.indices[4] % 3, held.indices[0] % 3]


def test_data_that_brings_what_is_held_out_is_not_split():
    data = Numbers(50)
    data.held_out = Numbers(7)
    assert split(data, 0.1, 3) == (data, data.held_out)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_split_leaves_something_on_both_sides(share):
    with pytest.raises(DiffkitError, match=r"train\.held_out"):
        split(Numbers(50), share, 0)


def test_a_part_keeps_labels_and_shares():
    data = Listed(40)
    data.shares = [(range(10), 1), (range(10, 40), 2)]
    part = Part(data, [1, 10, 20, 30])
    assert part.labels == [0, 2, 1, 2]
    assert part.shares == [([0], 1), ([1, 2, 3], 2)]
