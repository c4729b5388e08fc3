"""Faults of a whole training: killed at random moments, stopped, out of room, out of time, and two at once."""

import errno
import itertools
import json
import os
import random
import signal
import time

import pytest
import torch

import diffkit
from diffkit import DiffkitError
from diffkit.run import checkpoint
from diffkit.run.train import resume

WORDS = (
    *("recipe=spirals", "net.width=8", "train.batch_size=8", "train.steps=1000000", "train.save_every=3"),
    *("train.log_every=5", "sample.n=1", "sampler.steps=1", "device=cpu"),
)
NAMES = ("model", "ema", "optimizer")


@pytest.fixture
def run(tmp_path, faults):
    """A run of a few steps."""
    return diffkit.train(*WORDS, "train.steps=3", f"out={tmp_path}").path


def announced(said):
    return [int(line.rpartition("step-")[2]) for line in said.splitlines() if line.startswith("saved")]


def bits(run):
    found, tensors, _, skipped = checkpoint.newest(run / "checkpoints", NAMES)
    assert skipped == []
    return int(found.name[5:]), tensors


def same(a, b):
    return all(torch.equal(a[name][key], b[name][key]) for name in NAMES for key in a[name])


def steps_of(run):
    return [json.loads(line)["step"] for line in (run / "metrics.jsonl").read_text().splitlines()]


def test_killed_at_random_moments_it_resumes_from_the_last_announced_or_later_and_to_the_bit(run, tmp_path, faults):
    rng, kills, last = random.Random(0), 200 if faults.long else 12, 3
    for _ in range(kills):
        child = faults.Child(lambda: resume(run, "train.steps=1000000"))
        wanted = rng.randrange(4)
        while len(announced(child.said)) < wanted and child.read():
            pass
        time.sleep(rng.random() * 0.05)
        assert child.end(signal.SIGKILL) == -signal.SIGKILL, child.said
        step, _ = bits(run)
        last = max([last, *announced(child.said)])
        assert step >= last
        last = step
    assert last > 3
    resume(run, f"train.steps={last + 3}")
    whole = diffkit.train(*WORDS, f"train.steps={last + 3}", f"out={tmp_path / 'whole'}").path
    assert same(bits(run)[1], bits(whole)[1])
    assert steps_of(run) == sorted(set(steps_of(run)))
    print(f"{kills} kills up to step {last}, none lost")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_saves_the_very_step(run, faults, number):
    child = faults.Child(lambda: print(resume(run, "train.steps=1000000").status))
    while len(announced(child.said)) < 2:
        child.read()
    assert child.end(number) == 0, child.said
    assert child.said.splitlines()[-1] == str(128 + number)
    stopped = int(child.said.split("stopped  at step ")[1].split()[0])
    assert bits(run)[0] == stopped == announced(child.said)[-1]


def test_halted_for_a_while_it_goes_on_and_nothing_differs(run, tmp_path, faults):
    child = faults.Child(lambda: resume(run, "train.steps=60"))
    while not announced(child.said):
        child.read()
    os.kill(child.pid, signal.SIGSTOP)
    time.sleep(0.2)
    assert child.end(signal.SIGCONT) == 0, child.said
    whole = diffkit.train(*WORDS, "train.steps=60", f"out={tmp_path / 'whole'}").path
    assert same(bits(run)[1], bits(whole)[1])


def test_a_disk_that_fills_up_at_any_call_ends_it_with_a_sentence_and_it_goes_on_with_room(run, faults):
    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    said: list[str] = []
    calls = itertools.count() if faults.long else (*range(0, 40, 6),)
    for call in calls:
        step = bits(run)[0]
        with faults.at_call(run, call, full) as plan:
            try:
                resume(run, f"train.steps={step + 6}")
            except (DiffkitError, OSError) as error:
                said.append(str(error))
        assert bits(run)[0] >= step
        if plan.count <= call:
            break
    assert said and all("No space left" in one for one in said)
    step = bits(run)[0]
    assert resume(run, f"train.steps={step + 6}").step == step + 6
    assert not list((run / "checkpoints").glob(".*"))


def test_a_clock_that_is_set_back_changes_nothing(run, tmp_path, monkeypatch):
    now = itertools.count(2_000_000_000, -3600)
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    resume(run, "train.steps=12")
    whole = diffkit.train(*WORDS, "train.steps=12", f"out={tmp_path / 'whole'}").path
    assert same(bits(run)[1], bits(whole)[1])


def test_a_second_process_on_one_run_is_refused_and_the_first_does_not_notice(run, faults):
    child = faults.Child(lambda: resume(run, "train.steps=1000000"))
    while not announced(child.said):
        child.read()
    with pytest.raises(DiffkitError, match="another process is training in"):
        resume(run, "train.steps=1000000")
    assert child.end(signal.SIGTERM) == 0, child.said
    assert bits(run)[0] == announced(child.said)[-1]


def test_out_of_memory_in_a_step_leaves_the_last_checkpoint(run, monkeypatch):
    def exhausted(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(torch.optim.Adam, "step", exhausted)
    with pytest.raises(MemoryError):
        resume(run, "train.steps=30")
    monkeypatch.undo()
    assert bits(run)[0] == 3 and resume(run, "train.steps=9").step == 9
