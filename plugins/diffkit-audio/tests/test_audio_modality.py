import math
import warnings

import numpy as np
import pytest
import soundfile
import torch
from diffkit_audio import Audio, AudioFolder, Notes
from diffkit_audio.resample import resample
from PIL import Image

from diffkit import DataSpec, DiffkitError
from diffkit.testing import check_modality

SPEC = DataSpec(1, (800,), rate=8000.0)


def sine(frequency, rate, length):
    return torch.sin(2 * math.pi * frequency * torch.arange(length, dtype=torch.float64) / rate).float()


def test_what_was_saved_is_read_back_to_the_nearest_16_bit_value(tmp_path):
    x = torch.rand(2, 800) * 2 - 1
    spec = DataSpec(2, (800,), rate=8000.0)
    (path,) = Audio().save(x, tmp_path / "3 C.sharp-0007", spec)
    assert path == tmp_path / "3 C.sharp-0007.wav"
    info = soundfile.info(path)
    assert (info.samplerate, info.channels, info.subtype) == (8000, 2, "PCM_16")
    torch.testing.assert_close(Audio().read(path, spec), x, rtol=0, atol=1 / 32768)
    (again,) = Audio().save(Audio().read(path, spec), tmp_path / "again", spec)
    assert again.read_bytes() == path.read_bytes()


def test_saving_clips_what_is_too_loud(tmp_path):
    (path,) = Audio().save(torch.tensor([[-3.0, 3.0]]), tmp_path / "loud", DataSpec(1, (2,), rate=8000.0))
    assert soundfile.read(path, dtype="int16")[0].tolist() == [-32768, 32767]


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff", "au", "caf"])
def test_files_of_many_kinds_are_read(tmp_path, suffix):
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, 0.5 * sine(440, 16000, 16000).numpy(), 16000)
    x = Audio().read(path, DataSpec(1, (8000,), rate=16000.0))
    spectrum = torch.fft.rfft(x[0]).abs()
    assert spectrum.argmax() == 220
    assert x.abs().max() == pytest.approx(0.5, abs=0.05)


def test_a_file_is_mixed_resampled_and_cut_or_padded_with_silence(tmp_path):
    path = tmp_path / "stereo.wav"
    left, right = sine(300, 44100, 22050), torch.zeros(22050)
    soundfile.write(path, torch.stack((left, right), 1).numpy(), 44100)
    cut = Audio().read(path, DataSpec(1, (2000,), rate=8000.0))
    assert cut.shape == (1, 2000)
    torch.testing.assert_close(cut[0, 50:], sine(300, 8000, 2000)[50:] / 2, rtol=0, atol=2e-3)
    padded = Audio().read(path, DataSpec(1, (8000,), rate=8000.0))
    assert padded.shape == (1, 8000)
    assert padded[0, 4100:].abs().max() == 0
    torch.testing.assert_close(padded[:, :2000], cut)


@pytest.mark.parametrize(("old", "new"), [(44100, 16000), (8000, 44100), (16000, 8000), (11025, 8001)])
def test_resampling_keeps_a_tone_that_both_rates_can_hold(old, new):
    tone = 0.4 * min(old, new)
    y = resample(sine(tone, old, old // 4), old, new, new // 4)
    inside = slice(new // 40, -new // 40)
    torch.testing.assert_close(y[inside], sine(tone, new, new // 4)[inside], rtol=0, atol=3e-3)


def test_resampling_removes_what_the_lower_rate_cannot_hold():
    y = resample(sine(6000, 16000, 4000), 16000, 8000, 2000)
    assert y[200:-200].abs().max() < 3e-3


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
def test_a_file_that_was_cut_off_is_not_readable(tmp_path, suffix):
    path = tmp_path / f"cut.{suffix}"
    soundfile.write(path, np.random.default_rng(0).normal(0, 0.1, 16000), 16000)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises((ValueError, soundfile.LibsndfileError)):
        Audio().read(path, DataSpec(1, (16000,), rate=16000.0))


def test_a_folder_is_labelled_by_its_sub_folders_and_names_what_it_skips(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))
    for name, tone in (("high", 2000), ("low", 500)):
        (tmp_path / "data" / name).mkdir(parents=True)
        soundfile.write(tmp_path / "data" / name / "a.wav", 0.5 * sine(tone, 16000, 20000).numpy(), 16000)
    (tmp_path / "data/low/empty.wav").touch()
    (tmp_path / "data/low/text.flac").write_text("not a sound")
    whole = (tmp_path / "data/low/a.wav").read_bytes()
    (tmp_path / "data/low/cut.wav").write_bytes(whole[:1000])
    soundfile.write(tmp_path / "data/low/silent.wav", np.zeros((0, 1)), 16000)
    with pytest.warns(UserWarning, match="skipped 4 of 6") as caught:
        data = AudioFolder(str(tmp_path / "data"), rate=8000, seconds=0.5)
    for name in ("empty.wav", "text.flac", "cut.wav", "silent.wav"):
        assert f"low/{name}" in str(caught[0].message)
    assert data.spec == DataSpec(1, (4000,), ("high", "low"), rate=8000.0)
    assert len(data) == 2
    for (x, label), tone in zip(data, (2000, 500), strict=False):
        assert x.dtype == torch.float32
        assert torch.fft.rfft(x[0]).abs().argmax() == tone // 2
        assert data.spec.labels[label] == ("high" if tone == 2000 else "low")
        Audio().check(x, data.spec)


@pytest.mark.parametrize(
    ("x", "spec", "says"),
    [
        (torch.zeros(1, 8, 8), DataSpec(1, (8, 8)), "one axis"),
        (torch.zeros(1, 800), DataSpec(1, (800,)), "rate"),
        (torch.zeros(1, 801), SPEC, "801"),
        (torch.full((1, 800), 1.1), SPEC, r"\[-1, 1\]"),
        (torch.full((1, 800), float("nan")), SPEC, "finite"),
        (torch.zeros(1, 800, dtype=torch.int16), SPEC, "floats"),
    ],
)
def test_check_says_what_is_wrong(x, spec, says):
    with pytest.raises(DiffkitError, match=says):
        Audio().check(x, spec)


@pytest.mark.parametrize("options", [{"rate": 0}, {"seconds": 0.0}, {"channels": 0}, {"seconds": -1.0}])
def test_options_out_of_range_are_refused_before_anything_is_read(options):
    (name,) = options
    with pytest.raises(DiffkitError, match=name):
        AudioFolder("nowhere", **options)


@pytest.mark.parametrize("length", [1, 50, 4096])
def test_a_sheet_is_drawn_for_sounds_of_any_length(tmp_path, length):
    spec = DataSpec(1, (length,), rate=8000.0)
    xs = torch.stack([torch.zeros(1, length), torch.ones(1, length)])
    Audio().sheet(xs, ["silence", "one"], tmp_path / "sheet.png", spec)
    assert np.asarray(Image.open(tmp_path / "sheet.png")).ndim == 3


def test_a_tone_lies_at_its_frequency_in_the_spectrogram(tmp_path):
    from diffkit_audio.tile import GAP, LEFT, SPECTRUM, TOP, WAVE, WIDTH, tile

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = tile(sine(1000, 8000, 8000)[None], 8000.0)
    brightness = picture[TOP + WAVE + GAP :, LEFT : LEFT + WIDTH][:SPECTRUM].astype(int).sum((1, 2))
    assert abs(brightness.argmax() - round(SPECTRUM * (1 - 1000 / 4000))) <= 2


def test_the_modality_keeps_its_contract_with_both_data_sets(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "data").mkdir()
    for i in range(3):
        x = 0.5 * sine(300 * (i + 1), 16000, 8000)
        soundfile.write(tmp_path / "data" / f"{i}.wav", torch.stack((x, -x / 2), 1).numpy(), 16000)
    check_modality(Audio(), Notes(n=26, seconds=0.1))
    check_modality(Audio(), AudioFolder(str(tmp_path / "data"), rate=8000, seconds=0.25, channels=2))


def test_sounds_that_are_not_finite_can_still_be_looked_at(tmp_path):
    xs = torch.full((1, 1, 800), float("nan"))
    Audio().sheet(xs, ["diverged"], tmp_path / "sheet.png", SPEC)
    (path,) = Audio().save(xs[0], tmp_path / "diverged", SPEC)
    assert soundfile.read(path)[0].tolist() == [0] * 800
