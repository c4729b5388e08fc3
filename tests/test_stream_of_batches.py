"""Training batches: endless, shuffled, and a function of (seed, position) alone."""

from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffkit import DataSpec
from diffkit.data.fetch import fetch
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
