import numpy as np
import PIL.Image
import pytest
import torch
from diffkit_image import Digits, Flip, ImageFolder
from sklearn.datasets import load_digits

from diffkit import DataSpec, DiffkitError, build, generator


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))


def values(data):
    items = data.__getitems__(list(range(len(data))))
    return torch.stack([x for x, _ in items]), torch.tensor([label for _, label in items])


def test_digits_are_those_of_scikit_learn():
    x, labels = values(Digits("all"))
    known = load_digits()
    assert np.array_equal((x[:, 0] + 1) * 8, known.images)
    assert np.array_equal(labels, known.target)


def test_the_split_has_every_digit_once_and_every_class_in_proportion():
    train, held_out, every = (values(Digits(split)) for split in ("train", "held_out", "all"))
    both = torch.cat([train[0], held_out[0]]).flatten(1)
    assert torch.equal(
        both.unique(dim=0, return_counts=True)[1], every[0].flatten(1).unique(dim=0, return_counts=True)[1]
    )
    assert len(both) == 1797
    share = train[1].bincount() / every[1].bincount()
    assert (share - 0.7).abs().max() < 0.004


def test_the_split_is_always_the_same():
    assert torch.equal(values(Digits())[0], values(Digits())[0])


def test_the_training_part_names_what_is_held_out_from_it():
    assert torch.equal(values(Digits().held_out)[0], values(Digits("held_out"))[0])
    assert Digits("all").held_out is Digits("held_out").held_out is None


def test_a_batch_of_digits_is_its_items():
    data = Digits()
    for (x, label), i in zip(data.__getitems__([5, 1200, 5]), [5, 1200, 5], strict=True):
        assert torch.equal(x, data[i][0])
        assert label == data[i][1]


def test_a_part_that_does_not_exist_is_refused():
    with pytest.raises(DiffkitError, match="give train, held_out or all"):
        build("data", "digits", split="test")


@pytest.fixture
def folder(tmp_path):
    for name, colour in (("robin", "red"), ("wren", "blue")):
        (tmp_path / "birds" / name).mkdir(parents=True)
        for i in range(3):
            PIL.Image.new("RGB", (20 + i, 30), colour).save(tmp_path / "birds" / name / f"{i}.png")
    return tmp_path / "birds"


def test_a_folder_of_pictures_has_the_size_channels_and_classes_asked_for(folder):
    data = build("data", "image_folder", path=str(folder), size=16)
    assert (data.spec.channels, data.spec.shape, data.spec.labels) == (3, (16, 16), ("robin", "wren"))
    x, labels = values(data)
    assert labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert torch.equal(x[0, :, 0, 0], torch.tensor([1.0, -1.0, -1.0]))
    assert values(ImageFolder(str(folder), size=16, channels=1))[0].shape == (6, 1, 16, 16)


def test_bad_pictures_among_good_ones_are_skipped_and_named(folder):
    (folder / "wren/zero.png").touch()
    (folder / "wren/text.jpg").write_text("hello")
    whole = folder / "wren/cut.png"
    PIL.Image.fromarray(np.random.default_rng(0).integers(256, size=(50, 50, 3), dtype=np.uint8)).save(whole)
    whole.write_bytes(whole.read_bytes()[:4000])
    with pytest.warns(UserWarning, match="skipped 3 of 9 files"):
        data = ImageFolder(str(folder))
    assert data.skipped["wren/zero.png"] == "it is empty"
    assert data.skipped["wren/text.jpg"] == "it is not a picture"
    assert "truncated" in data.skipped["wren/cut.png"]
    assert len(data) == 6


@pytest.mark.parametrize("wrong", [{"size": 0}, {"size": -64}, {"size": 10**6}, {"channels": 2}, {"channels": 4}])
def test_impossible_sizes_and_channels_are_refused(folder, wrong):
    with pytest.raises(DiffkitError, match="give"):
        ImageFolder(str(folder), **wrong)


@pytest.mark.parametrize("shape", [(1, 9), (3, 4, 4), (3, 2, 4, 4)])
def test_flip_mirrors_the_last_axis_of_some_items_and_leaves_the_others(shape):
    x = torch.randn(400, *shape, generator=generator("test"))
    y = Flip(p=0.25)(x, generator("flip"))
    mirrored = [torch.equal(b, a.flip(-1)) for a, b in zip(x, y, strict=True)]
    assert all(m or torch.equal(a, b) for m, a, b in zip(mirrored, x, y, strict=True))
    assert abs(sum(mirrored) - 100) < 4 * (400 * 0.25 * 0.75) ** 0.5


def test_flip_is_drawn_from_the_generator_alone():
    x = torch.randn(64, 1, 8, generator=generator("test"))
    flip = build("augment", "flip")
    assert torch.equal(flip(x, generator(1)), flip(x, generator(1)))
    assert not torch.equal(flip(x, generator(1)), flip(x, generator(2)))


def test_flip_always_and_never():
    x = torch.randn(8, 3, 4, 4, generator=generator("test"))
    assert torch.equal(Flip(p=0)(x, generator(0)), x)
    assert torch.equal(Flip(p=1)(x, generator(0)), x.flip(-1))
    with pytest.raises(DiffkitError, match="from 0 to 1"):
        Flip(p=1.5)


def test_sounds_are_not_mirrored():
    with pytest.raises(DiffkitError, match="augment 'flip': it mirrors left and right, which sounds have none of"):
        build("augment", "flip", spec=DataSpec(1, (8000,), rate=8000.0))
    assert build("augment", "flip", spec=DataSpec(1, (4, 8, 8)))
