"""A step that would do harm is not taken, and training goes on from where it was."""

import json
import math
import os
import signal

import pytest
import torch
from torch import nn

import diffkit
from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.guard import SETTLED, Guard
from diffkit.run import life
from diffkit.run.life import FAILURES
from diffkit.run.train import resume
from diffkit.training import Trainer


def judged(norms, factor=0.0):
    guard = Guard(factor, torch.device("cpu"))
    return guard, [bool(guard.bad(torch.tensor(float(norm)))) for norm in norms]


def test_a_gradient_that_is_not_finite_is_bad_and_counted():
    guard, bad = judged([1, math.nan, math.inf, 2])
    assert bad == [False, True, True, False]
    assert guard.state() == {"usual": 1.5, "seen": 2, "skipped": 2, "in_a_row": 0}


def test_a_gradient_far_beyond_the_usual_is_bad_once_the_usual_is_known():
    assert judged([1] * (SETTLED - 1) + [50], factor=20)[1][-1] is False
    guard, bad = judged([1] * SETTLED + [50, 19, 50, 50], factor=20)
    assert bad[-4:] == [True, False, True, True]
    assert guard.state()["in_a_row"] == 2
    assert judged([1] * SETTLED + [50], factor=0)[1][-1] is False


def test_a_bad_norm_does_not_change_what_is_usual():
    (one, _), (other, _) = judged([1, 2, 3]), judged([1, math.nan, 2, math.inf, 3])
    assert one.state()["usual"] == other.state()["usual"]


class Numbers:
    """Data whose fourth batch of two is not finite."""

    modality = "numbers"
    spec = DataSpec(1, (2,))

    def __len__(self):
        return 64

    def __getitem__(self, index):
        return torch.full((1, 2), math.nan if index in (6, 7) else 0.5), 0


class InOrder:
    """Batches of two, one after another."""

    batch_size = 2

    def batch(self, step):
        return torch.stack([Numbers()[2 * step][0], Numbers()[2 * step + 1][0]]), {}


class Line(nn.Module):
    """One layer."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, x, lam):
        return self.layer(x)


@pytest.mark.parametrize("optimizer", ["adamw", "sgd", "lion", "muon", "schedule_free"])
def test_the_network_and_the_optimizer_are_as_if_a_bad_step_had_not_been(optimizer):
    torch.manual_seed(0)
    trainer = Trainer(
        Denoiser(Line(), "cosine", "edm"), InOrder(), build("optim", optimizer, decay="constant", warmup=0), steps=6
    )
    states = []
    for _ in trainer.run():
        files = trainer.tensors()
        states.append(
            {f"{file}.{name}": v.clone() for file in ("model", "optimizer") for name, v in files[file].items()}
        )
    assert all(value.isfinite().all() for value in states[-1].values())
    assert all(torch.equal(states[3][name], value) for name, value in states[2].items()), "the fourth was not taken"
    assert not torch.equal(states[4]["model.layer.weight"], states[3]["model.layer.weight"])
    assert trainer.guard.state()["skipped"] == 1


def test_a_run_says_how_many_steps_it_left_out(tmp_path, monkeypatch):
    bad, calls = Guard.bad, iter([1, math.nan, 1, math.nan])
    monkeypatch.setattr(Guard, "bad", lambda self, norm: bad(self, norm * next(calls)))
    words = ("recipe=spirals", f"out={tmp_path}", "train.steps=4", "train.log_every=1", "sample.n=2", "sampler.steps=1")
    run = diffkit.train(*words).path
    assert [json.loads(line)["skipped"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [0, 1, 1, 2]


def test_a_step_that_is_taken_again_after_a_failure_has_other_data_times_and_noise():
    asked, drawn = [], []

    class Asked(InOrder):
        """Notes of which batch it is asked."""

        def batch(self, step):
            asked.append(step)
            return super().batch(step % 3)

    for failures in (0, 0, 1):
        trainer = Trainer(Denoiser(Line(), "cosine", "edm"), Asked(), build("optim", "sgd"), steps=1)
        trainer.failures = failures
        list(trainer.run())
        drawn.append((trainer.draws.times(), trainer.draws.noise(torch.zeros(2, 1, 2), slice(0, 2))))
    assert asked[0] == asked[1] == 0 and asked[2] > 1000
    assert all(map(torch.equal, drawn[0], drawn[1]))
    assert not any(map(torch.equal, drawn[0], drawn[2]))


def test_after_many_bad_steps_in_a_row_a_run_goes_back_and_on_with_other_batches(tmp_path, monkeypatch, capsys):
    words = ("recipe=spirals", f"out={tmp_path}", "train.steps=30", "train.log_every=1", "train.save_every=5")
    bad, hopeful = Guard.bad, {"failures": 0}

    def poisoned(self, norm):
        hopeful["calls"] = hopeful.get("calls", 0) + 1
        return bad(self, norm * math.nan if 8 <= hopeful["calls"] < 18 else norm)

    monkeypatch.setattr(Guard, "bad", poisoned)
    run = diffkit.train(*words, "sample.n=2", "sample.batch_size=2", "sampler.steps=2")
    assert run.step == 30
    assert "back to step 5, and on with other batches" in capsys.readouterr().out
    steps = [json.loads(line)["step"] for line in (run.path / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(set(steps)), "each step is logged once"
    state = json.loads((run.path / "checkpoints/step-00000030/state.json").read_text())
    assert state["failures"] == 1


def test_a_run_that_stays_hopeless_gives_up_and_keeps_its_last_checkpoint(tmp_path, monkeypatch, capsys):
    bad, calls = Guard.bad, [0]

    def poisoned(self, norm):
        calls[0] += 1
        return bad(self, norm * math.nan if calls[0] > 3 else norm)

    monkeypatch.setattr(Guard, "bad", poisoned)
    with pytest.raises(DiffkitError, match=r"the loss is .* at step 1\d, .*; the last checkpoint is kept"):
        diffkit.train(
            "recipe=spirals",
            f"out={tmp_path}",
            "train.steps=99",
            "train.log_every=1",
            "train.save_every=2",
            "sample.n=2",
        )
    assert [path.name for path in tmp_path.glob("spirals/*/checkpoints/*")] == ["step-00000002"]
    assert capsys.readouterr().out.count("on with other batches") == FAILURES


def spoil(monkeypatch, step, stopped=0):
    """Spoil the network's weights once, before a step, and have the run stopped before another."""
    take, spoilt = Trainer._take, []

    def spoiling(trainer):
        if trainer.step + 1 == step and not spoilt:
            spoilt.append(trainer.parameters[0].data.fill_(math.nan))
        if trainer.step + 1 == stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        return take(trainer)

    monkeypatch.setattr(Trainer, "_take", spoiling)


def test_a_run_that_is_stopped_with_its_weights_spoilt_finds_back_to_those_that_were_not(tmp_path, monkeypatch, capsys):
    words = ("recipe=spirals", f"out={tmp_path}", "train.steps=60", "train.log_every=20", "train.save_every=5")
    with monkeypatch.context() as patch:
        spoil(patch, 8, stopped=19)
        run = diffkit.train(*words, "train.keep=1", "sample.n=2", "sampler.steps=2")
    assert (run.status, run.step) == (143, 19)
    assert sorted(path.name for path in (run.path / "checkpoints").iterdir()) == ["step-00000005", "step-00000019"]
    resumed = resume(run.path)
    assert (resumed.status, resumed.step) == (0, 60)
    assert "back to step 5, and on with other batches" in capsys.readouterr().out
    assert diffkit.load(run.path).sample(2).isfinite().all()


def test_a_look_at_samples_does_not_end_a_run_that_would_find_back(tmp_path, monkeypatch, capsys):
    spoil(monkeypatch, 8)
    words = ("recipe=spirals", f"out={tmp_path}", "train.steps=30", "train.log_every=20", "train.save_every=5")
    run = diffkit.train(*words, "train.sample_every=12", "sample.n=2", "sampler.steps=2")
    assert run.step == 30
    said = capsys.readouterr().out
    assert "no samples at step 12, as steps just now were not taken" in said
    assert "back to step 5" in said
    assert "step-00000024/sheet.png" in said


def test_samples_that_cannot_be_written_midway_do_not_end_a_run(tmp_path, monkeypatch, capsys):
    write, failing = life.write_samples, [True]

    def refuse(*given, **options):
        if failing:
            failing.pop()
            raise DiffkitError("a picture holds values that are not finite")
        return write(*given, **options)

    monkeypatch.setattr(life, "write_samples", refuse)
    words = ("recipe=spirals", f"out={tmp_path}", "train.steps=4", "sample.n=2", "sampler.steps=2")
    run = diffkit.train(*words, "train.sample_every=2")
    assert run.step == 4
    assert "no samples at step 2: a picture holds values" in capsys.readouterr().out
