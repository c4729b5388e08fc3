import pytest
import torch
from diffkit_audio import Audio, Notes, frequency, pitch
from diffkit_audio.notes import pluck

from diffkit import DiffkitError, generator


def test_pitches_are_named_and_tuned_to_a_440():
    assert frequency("A4") == 440
    assert frequency("A3") == pytest.approx(220)
    assert frequency("C4") == pytest.approx(440 * 2 ** (-9 / 12))
    assert frequency("C#4") == frequency("Db4")
    assert all(pitch(midi) == name for midi, name in ((60, "C4"), (61, "Db4"), (69, "A4"), (71, "B4"), (72, "C5")))
    with pytest.raises(DiffkitError, match="H3"):
        frequency("H3")


def test_every_note_is_in_tune_within_half_a_cent():
    rate, length = 8000.0, 8192
    asked = torch.tensor([frequency(pitch(midi)) for midi in range(48, 72)])
    x = pluck(asked, length, rate, generator("tuning"))
    padded = 1 << 20
    spectrum = torch.fft.rfft(x * torch.hann_window(length), padded).abs()
    bins = torch.arange(spectrum.shape[1]) * rate / padded
    near = (bins > asked[:, None] * 2 ** (-1 / 12)) & (bins < asked[:, None] * 2 ** (1 / 12))
    found = bins[(spectrum * near).argmax(1)]
    assert (1200 * torch.log2(found / asked)).abs().max() < 0.5


def test_notes_are_items_of_the_audio_modality_and_take_turns_in_pitch():
    notes = Notes(low="A3", high="C4", n=9, seconds=0.25)
    assert notes.spec.labels == ("A3", "Bb3", "B3", "C4")
    assert (len(notes), notes.spec.shape, notes.spec.rate) == (9, (2000,), 8000)
    assert [notes[i][1] for i in range(9)] == [0, 1, 2, 3, 0, 1, 2, 3, 0]
    for x, _ in (notes[i] for i in range(9)):
        assert x.dtype == torch.float32
        Audio().check(x, notes.spec)
        assert x.abs().max() > 0.25
        assert x[0, -1] == 0


def test_notes_decay_and_differ():
    x = torch.cat([Notes(low="C4", high="C4", n=32)[i][0] for i in range(32)])
    early, late = x[:, 200:1000].square().mean(1), x[:, 3000:3800].square().mean(1)
    assert (late < early).all()
    distance = torch.cdist(x, x) / x.norm(dim=1)
    assert distance[~torch.eye(32, dtype=torch.bool)].min() > 0.02


def test_a_seed_gives_the_same_notes_and_another_seed_others():
    first, same, other = (torch.stack([Notes(n=24, seed=seed)[i][0] for i in range(24)]) for seed in (3, 3, 4))
    assert torch.equal(first, same)
    assert not torch.isclose(first, other).flatten(1).all(1).any()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"low": "H3"}, "H3"),
        ({"low": "C4", "high": "C3"}, "higher"),
        ({"high": "C9"}, "rate"),
        ({"n": 0}, "n=0"),
        ({"rate": 10}, "rate=10"),
        ({"seconds": 0.0}, "seconds=0"),
    ],
)
def test_options_that_make_no_notes_are_refused_with_what_to_type(options, says):
    with pytest.raises(DiffkitError, match=says):
        Notes(**options)
