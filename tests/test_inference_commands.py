"""``diffkit nll``, ``invert``, ``edit`` and ``inpaint`` on a run of thirty steps."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import diffkit
from diffkit import DiffkitError
from diffkit.cli.main import run as run_words

SHORT = ("recipe=digits", "train.steps=30", "train.batch_size=32", "sample.n=2", "device=cpu", "net.width=8")


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    """A folder with a run of thirty steps, and digits it never saw."""
    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        diffkit.train(*SHORT)
    data, modality = diffkit.build("data", "digits", split="held_out"), diffkit.build("modality", "image")
    (folder / "seen").mkdir()
    for i in range(3):
        x, label = data[i]
        modality.save(x, folder / "seen" / f"digit{label}", data.spec)
    return folder


@pytest.fixture
def run(digits, monkeypatch, capsys):
    """Return a function that runs a command there, and returns what it said and the folder that it wrote."""
    monkeypatch.chdir(digits)

    def go(*words):
        assert run_words([str(word) for word in words]) == 0
        said = capsys.readouterr().out
        written = re.search(r"(runs/\S+)/sheet.png", said)
        return said, Path(written[1]) if written else None

    return go


def pixels(path):
    return torch.from_numpy(np.array(Image.open(path))).float() / 127.5 - 1


def test_nll_says_bits_of_held_out_data_by_flow_and_bound(run):
    words = ("nll", "last", "sample.n=4", "levels=17", "draws=8", "rtol=0.01", "--json")
    said, written = run(*words)
    figures = json.loads(said.splitlines()[-1])
    assert "4 held-out items of 'digits'" in said
    assert written is None
    assert figures["n"] == 4
    assert figures["evaluations"] > 8
    assert 0 < figures["flow"] < 12
    assert json.loads(run(*words)[0].splitlines()[-1]) == figures


def test_invert_writes_files_like_the_given_ones_their_noise_and_a_sheet(run, digits):
    said, folder = run("invert", "last", "seen")
    names = sorted(path.name for path in (digits / "seen").iterdir())
    assert sorted(path.name for path in folder.glob("digit*.png")) == names
    off = max((pixels(folder / name) - pixels(digits / "seen" / name)).abs().max() for name in names)
    assert off < 0.05
    assert float(re.search(r"error +(\S+)", said)[1]) < 0.05
    assert load_file(folder / "noise.safetensors")["noise"].shape == (3, 1, 8, 8)
    assert Image.open(folder / "sheet.png").size > (100, 50)


def test_invert_takes_many_steps_of_heun_whatever_the_runs_own_sampler_is(run):
    own = ("sampler=exp_adams", "grid=rational")
    noises = [
        load_file(run("invert", "last", "seen", *words)[1] / "noise.safetensors")["noise"]
        for words in ((), ("sampler=heun", "sampler.steps=50", "grid=karras"), own)
    ]
    assert torch.equal(noises[0], noises[1]) and not torch.equal(noises[0], noises[2])


def test_invert_takes_the_sampler_that_is_named(run):
    errors = []
    for steps in (6, 40):
        said, _ = run("invert", "last", "seen", "sampler=euler", f"sampler.steps={steps}")
        errors.append(float(re.search(r"error +(\S+)", said)[1]))
    assert errors[0] > 3 * errors[1] > 3e-3


def test_nll_of_one_file_has_no_standard_error(run, digits):
    file = next(str(path) for path in (digits / "seen").iterdir())
    said, _ = run("nll", "last", file, "draws=8", "rtol=0.01", "--json")
    figures = json.loads(said.splitlines()[-1])
    assert figures["n"] == 1 and figures["flow_error"] is None and "nan" not in said.lower() and "±" not in said


def test_edit_changes_more_as_it_gets_stronger(run):
    changed = []
    for strength in (0.02, 0.3, 0.9):
        said, folder = run("edit", "last", "seen", f"strength={strength}", "sample.label=3", "sampler.steps=10")
        changed.append(float(re.search(r"changed +(\S+)", said)[1]))
        assert len(list(folder.glob("digit*.png"))) == 3
    assert changed[0] < changed[1] < changed[2]


@pytest.mark.parametrize("method", ["repaint", "ddnm", "pigdm", "mmps"])
def test_inpaint_keeps_what_is_seen_and_fills_what_is_hidden(run, digits, method):
    _, folder = run("inpaint", "last", "seen", "mask=top", f"method={method}", "sampler.steps=4", "noise=0.05")
    for path in (digits / "seen").iterdir():
        before, after = pixels(path), pixels(folder / path.name)
        assert torch.equal(before[4:], after[4:])
        assert (before[:4] - after[:4]).abs().max() > 0.05


def test_inpaint_takes_a_mask_from_a_file(run, digits, tmp_path):
    mask = Image.new("L", (8, 8))
    mask.paste(255, (2, 3, 5, 7))
    mask.save(tmp_path / "mask.png")
    _, folder = run("inpaint", "last", digits / "seen", f"mask={tmp_path / 'mask.png'}", "sampler.steps=3")
    hidden = torch.zeros(8, 8, dtype=torch.bool)
    hidden[3:7, 2:5] = True
    for path in (digits / "seen").iterdir():
        before, after = pixels(path), pixels(folder / path.name)
        assert torch.equal(before[~hidden], after[~hidden])
        assert not torch.equal(before[hidden], after[hidden])


def test_a_sound_is_filled_in_by_the_frames_that_the_hidden_part_touches(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    diffkit.train("recipe=notes", "train.steps=1", "train.batch_size=2", "sample.n=1", "sampler.steps=1", "device=cpu")
    model = diffkit.load("last")
    x = diffkit.build("data", "notes")[7][0]
    model.modality.save(x, tmp_path / "note", model.spec)
    assert run_words(["inpaint", "last", "note.wav", "mask=right", "sampler.steps=2"]) == 0
    after = model.modality.read(next(Path("runs").rglob("*-inpaint/note.wav")), model.spec)
    half, bands = x.shape[1] // 2, model.encoder.bands
    known = half - bands - bands // 2
    assert torch.allclose(after[:, :known], x[:, :known], atol=1e-3)
    assert (after[:, half:] - x[:, half:]).abs().max() > 0.01


def test_another_modality_inverts_too(run, trained):
    sample = next((trained / "samples").rglob("*.csv"))
    run("invert", trained, sample, "sampler=midpoint", "sampler.steps=20")
    assert len(list((trained / "samples").glob("*-invert/*.csv"))) == 1


def test_the_installed_command_does_it(command, digits):
    done = command("inpaint", "last", "seen", "mask=left", "method=ddnm", "sampler.steps=3", cwd=digits)
    assert (done.returncode, done.stderr) == (0, "")
    wrong = command("inpaint", "last", "seen", "mask=topp", cwd=digits)
    assert wrong.returncode == 2
    assert "Traceback" not in wrong.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nll"], "needs a run"),
        (["nll", "last", "levels=1"], "give 2 or more"),
        (["nll", "last", "levels=many"], "not a whole number"),
        (["nll", "last", "net=unet"], "cannot change 'net'"),
        (["invert", "last"], "which files?"),
        (["invert", "last", "nowhere.png"], "cannot be read"),
        (["invert", "last", "seen", "sampler=ddpm"], "cannot walk a grid backwards"),
        (["edit", "last", "seen", "strength=2"], "strength=0.5"),
        (["edit", "last", "seen", "sample.label=ten"], "label ten is not one of"),
        (["inpaint", "last", "seen", "mask=topp"], "did you mean 'top'"),
        (["inpaint", "last", "seen", "method=magic"], "give one of repaint"),
        (["inpaint", "last", "seen", "noise=much"], "not a number"),
    ],
)
def test_a_mistake_is_a_sentence_and_leaves_nothing(digits, monkeypatch, words, said):
    monkeypatch.chdir(digits)
    before = sorted(digits.rglob("*"))
    with pytest.raises(diffkit.DiffkitError, match=re.escape(said)):
        run_words(words)
    assert sorted(digits.rglob("*")) == before


def test_a_file_whose_name_has_a_sign_of_equality_is_a_file(run, digits):
    path = next((digits / "seen").glob("*.png"))
    (digits / "a=b.png").write_bytes(path.read_bytes())
    for command in ("edit", "inpaint"):
        _, written = run(command, "last", "a=b.png")
        assert (written / "sheet.png").exists()
    (digits / "a=b.png").unlink()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("inpaint", "last", "seen", "noise=-1"), "noise=-1.0 is not the standard deviation of a noise"),
        (("inpaint", "last", "seen", "noise=nan"), "noise=nan is not the standard deviation of a noise"),
        (("nll", "last", "rtol=0"), "rtol=0.0 is not a tolerance"),
    ],
)
def test_what_is_no_noise_and_no_tolerance_is_refused(digits, monkeypatch, words, said):
    monkeypatch.chdir(digits)
    with pytest.raises(DiffkitError, match=said):
        run_words(words)
