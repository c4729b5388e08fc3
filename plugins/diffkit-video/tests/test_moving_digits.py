import pytest
import torch
from diffkit_video import MovingDigits
from sklearn.datasets import load_digits

from diffkit import DiffkitError


def centres(xs):
    """Centres of mass (n, frames, 2) of clips (n, 1, frames, height, width)."""
    light = (xs[:, 0] + 1) / 2
    mass = light.sum((2, 3))
    y = (light.sum(3) * torch.arange(xs.shape[3])).sum(2) / mass
    x = (light.sum(2) * torch.arange(xs.shape[4])).sum(2) / mass
    return torch.stack((y, x), -1)


def clips(data, n=200):
    items = data.__getitems__(list(range(n)))
    return torch.stack([x for x, _ in items]), torch.tensor([label for _, label in items])


def test_items_are_labelled_clips_in_range():
    data = MovingDigits(size=20, frames=5, clips=300)
    xs, labels = clips(data, 300)
    assert len(data) == 300
    assert xs.shape == (300, 1, 5, 20, 20)
    assert xs.dtype == torch.float32
    assert xs.min() == -1
    assert 0.9 < xs.max() <= 1
    assert set(labels.tolist()) == set(range(10))
    assert data.spec.shape == (5, 20, 20)
    assert data.spec.labels == tuple("0123456789")
    assert data.spec.rate == 8


def test_an_item_is_the_same_alone_in_a_batch_and_in_another_data_set_of_the_seed():
    data = MovingDigits(clips=100)
    x, label = data[17]
    batch = data.__getitems__([3, 17, 99])
    assert torch.equal(batch[1][0], x)
    assert batch[1][1] == label
    assert torch.equal(MovingDigits(clips=100)[17][0], x)
    assert not torch.equal(MovingDigits(clips=100, seed=1)[17][0], x)


def test_a_digit_goes_straight_on_by_a_pixel_a_frame_until_it_meets_an_edge():
    data = MovingDigits(size=12, frames=12, clips=500)
    positions = data.positions(torch.arange(500), 12)
    steps = positions.diff(dim=1)
    assert positions.min() == 0
    assert positions.max() == 12 - 8
    assert (steps.abs().amax(-1) == 1).all()  # it moves in every step
    assert (steps.abs() == steps[:, :1].abs()).all()  # no faster or slower along either axis
    turns = steps[:, 1:] * steps[:, :-1] < 0
    edge = (positions[:, 1:-1] == 0) | (positions[:, 1:-1] == 12 - 8)
    moving = steps[:, 1:] != 0
    assert torch.equal(turns, edge & moving)
    assert len({tuple(v) for v in steps[:, 0].tolist()}) == 8


def test_the_picture_is_where_the_position_says():
    data = MovingDigits(clips=200)
    xs, _ = clips(data)
    moved = centres(xs).diff(dim=1)
    assert (moved - data.positions(torch.arange(200), 8).diff(dim=1)).abs().max() < 1e-4


def test_every_frame_shows_a_real_digit_as_it_was_written():
    images = torch.tensor(load_digits().images / 16, dtype=torch.float32)
    data = MovingDigits(clips=30)
    xs, labels = clips(data, 30)
    for i, places in enumerate(data.positions(torch.arange(30), 8).tolist()):
        cut = torch.stack([(xs[i, 0, k, y : y + 8, x : x + 8] + 1) / 2 for k, (y, x) in enumerate(places)])
        assert torch.equal(cut, cut[:1].expand_as(cut))
        found = (images == cut[0]).all((1, 2)).nonzero()
        assert load_digits().target[found[0]] == labels[i]
        assert ((xs[i, 0] + 1) / 2).sum() == pytest.approx(cut.sum().item(), rel=1e-5)  # and nothing besides


def test_training_and_held_out_digits_are_different_writings():
    train, test = MovingDigits(split="train", clips=1), MovingDigits(split="held_out", clips=1)
    a, b = train._pictures.flatten(1), test._pictures.flatten(1)
    assert len(a) + len(b) == len(load_digits().target)
    assert torch.cdist(a, b).min() > 0
    assert torch.equal(train.held_out._pictures, test._pictures)
    assert test.held_out is None


def test_the_spec_says_the_standard_deviation():
    data = MovingDigits()
    xs = torch.stack([x for x, _ in data.__getitems__(list(range(1000, 3000)))])
    assert data.spec.std == pytest.approx(xs.std().item(), rel=0.03)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"size": 8}, "no room"),
        ({"frames": 0}, "above 0"),
        ({"clips": 0}, "above 0"),
        ({"rate": 0}, "above 0"),
        ({"split": "valid"}, "split=valid"),
    ],
)
def test_options_out_of_range_are_refused_in_words(options, says):
    with pytest.raises(DiffkitError, match=says):
        MovingDigits(**options)
