"""Averages of a run that were not followed, made afterwards from snapshots of those that were."""

import shutil

import pytest
import torch

import diffkit
from diffkit import DiffkitError
from diffkit.run import checkpoint
from diffkit.run.averages import snapshots
from diffkit.run.folder import RunFolder
from diffkit.run.train import resume

WORDS = (
    "recipe=spirals",
    "train.batch_size=4",
    "sample.n=2",
    "sampler.steps=2",
    "device=cpu",
    "train.steps=60",
    "train.save_every=5",
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    out = tmp_path_factory.mktemp("runs")
    return diffkit.train(*WORDS, f"out={out}", "train.ema=[0.5,0.99]", "train.ema_lengths=[0.05,0.1]").path


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """Return the same run with the length followed that the other one lacks."""
    out = tmp_path_factory.mktemp("followed")
    return diffkit.train(*WORDS, f"out={out}", "train.ema_lengths=[0.05,0.15]").path


def weights(run, *words):
    return torch.cat([p.detach().flatten() for p in diffkit.load(run, *words).denoiser.net.parameters()])


def test_snapshots_stay_where_checkpoints_go(run):
    assert len(checkpoint.steps(run / "checkpoints")) == 2
    assert len(checkpoint.steps(snapshots(RunFolder(run)))) == 12


def test_an_average_made_is_near_to_the_one_followed(run, followed):
    made = diffkit.reconstruct(run, length=0.15)
    assert (made.step, made.profiles) == (60, 24)
    found, expected, other = weights(run, "sample.ema=0.15"), weights(followed, "sample.ema=0.15"), weights(run)
    assert (found - expected).norm() < 0.02 * (other - expected).norm()
    assert diffkit.load(run, "sample.ema=0.15").sample(2, steps=2).shape == diffkit.load(run).sample(2, steps=2).shape


def test_an_average_made_that_was_followed_is_that_one(run):
    made = diffkit.reconstruct(run, length=0.05)
    found = checkpoint.read(made.path, ("ema",))[0]["ema"]
    expected = checkpoint.newest(run / "checkpoints", ("length-0.05",))[1]["length-0.05"]
    assert made.distance < 1e-6
    assert all(torch.allclose(found[name], expected[name], rtol=1e-6, atol=1e-8) for name in expected)


def test_every_average_of_a_run_can_be_sampled_with(run):
    loaded = [weights(run, f"sample.ema={one}") for one in (0.5, 0.99, 0.05, 0.1)]
    assert torch.equal(loaded[0], weights(run))
    assert all(not torch.equal(a, b) for i, a in enumerate(loaded) for b in loaded[:i])


def test_an_average_that_is_not_there_is_told_how_to_get(run):
    with pytest.raises(
        DiffkitError, match=r"sample.ema=0.2 is none of .*\(0.5, 0.99, 0.05, 0.1\); make one .*diffkit ema"
    ):
        diffkit.load(run, "sample.ema=0.2")


def test_a_damaged_snapshot_is_left_out(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (snapshots(RunFolder(copy)) / "step-00000030/length-0.1.safetensors").write_bytes(b"")
    assert diffkit.reconstruct(copy, length=0.15).profiles == 22


def test_a_run_without_snapshots_is_told_how_to_have_some(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    shutil.rmtree(copy / "averages")
    with pytest.raises(DiffkitError, match=r"has no valid snapshot of averages; train with some: train.ema_lengths="):
        diffkit.reconstruct(copy, length=0.1)


def test_a_run_that_goes_on_keeps_the_snapshots_of_an_uninterrupted_one(run, tmp_path):
    part = tmp_path / "part"
    shutil.copytree(run, part)
    shutil.rmtree(part / "checkpoints/step-00000060")
    shutil.rmtree(snapshots(RunFolder(part)) / "step-00000060")
    resume(part)
    for path in checkpoint.steps(snapshots(RunFolder(run))):
        assert (snapshots(RunFolder(part)) / path.name / "SHA256SUMS").read_text() == (path / "SHA256SUMS").read_text()


@pytest.mark.parametrize("word", ["train.ema_lengths=[0.05]", "train.ema=[0.5,0.9]"], ids=["length", "decay"])
def test_a_run_that_goes_on_cannot_follow_what_it_did_not(run, word):
    with pytest.raises(
        DiffkitError, match=r"cannot follow other averages than it began with, since they need its past"
    ):
        resume(run, "train.steps=70", word)


def test_a_new_run_is_sampled_with_an_average_it_follows_or_not_begun(tmp_path):
    words = ("recipe=spirals", "train.steps=2", "sample.n=2", "sampler.steps=1", "device=cpu")
    with pytest.raises(DiffkitError, match=r"sample.ema=0.5 is none of the averages that the training follows \(0.9"):
        diffkit.train(*words, f"out={tmp_path}", "sample.ema=0.5")
    assert not list(tmp_path.iterdir())
    drawn = []
    for ema in (0.0, 0.9999):
        run = diffkit.train(*words, f"out={tmp_path}", "train.ema=[0.0,0.9999]", f"sample.ema={ema}", "train.steps=20")
        drawn.append(run.sheet.read_bytes())
    assert drawn[0] != drawn[1]
