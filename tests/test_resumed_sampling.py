"""A sampling of many files goes on where it was stopped or killed, and writes each file once."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

import diffkit
from diffkit.run.sampling import write_samples
from diffkit.run.stop import Stopped

WORDS = ("sample.n=40", "sample.batch_size=4", "sampler.steps=2", "device=cpu")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "sampling.json"}


def written(monkeypatch, model):
    """Return the stems that the modality is asked to write, as they come."""
    stems, save = [], model.modality.save
    monkeypatch.setattr(model.modality, "save", lambda x, stem, spec: (stems.append(stem.name), save(x, stem, spec))[1])
    return stems


class StopAfter(list):
    """Signals received: none for a number of questions."""

    def __init__(self, batches):
        super().__init__([signal.SIGTERM])
        self.left = batches

    def __bool__(self):
        self.left -= 1
        return self.left < 0


@pytest.mark.parametrize("batches", [0, 3, 8])
def test_a_stopped_sampling_goes_on_and_ends_as_if_it_never_had_been(trained, tmp_path, monkeypatch, batches):
    whole = write_samples(diffkit.load(trained, *WORDS), tmp_path / "whole", n=40, quiet=True).parent
    model = diffkit.load(trained, *WORDS)
    stems = written(monkeypatch, model)
    with pytest.raises(Stopped, match=rf"at {4 * (batches + 1)} of 40 samples, which are kept"):
        write_samples(model, trained / "samples/a", n=40, quiet=True, stopped=StopAfter(batches))
    assert len(stems) == 4 * (batches + 1) and not (trained / "samples/a").exists()
    again = write_samples(model, trained / "samples/b", n=40, quiet=True).parent
    assert len(stems) == len(set(stems)) == 40, "each is written once"
    assert files(again) == files(whole)
    assert not list((trained / "samples").glob(".*"))


def test_killed_within_a_batch_no_file_is_torn_or_written_again(trained, monkeypatch):
    model = diffkit.load(trained, *WORDS)
    save, count = model.modality.save, iter(range(100))

    def dying(x, stem, spec):
        paths = save(x, stem, spec)
        if next(count) == 5:
            paths[0].write_bytes(paths[0].read_bytes()[:3])
            raise SystemExit  # as sudden as it gets within one process
        return paths

    monkeypatch.setattr(model.modality, "save", dying)
    with pytest.raises(SystemExit):
        write_samples(model, trained / "samples/a", n=40, quiet=True)
    (part,) = (trained / "samples").glob(".*")
    before = {path.name: path.stat().st_ino for path in part.glob("*_*")}
    assert len(before) == 5
    monkeypatch.setattr(model.modality, "save", save)
    done = write_samples(model, trained / "samples/a", n=40, quiet=True).parent
    assert {name: (done / name).stat().st_ino for name in before} == before
    assert len(list(done.glob("*_*"))) == 40


@pytest.mark.parametrize("word", ["seed=1", "sample.label=1", "sampler.steps=3", "sample.n=41"])
def test_other_words_begin_a_sampling_of_their_own(trained, monkeypatch, word):
    with pytest.raises(Stopped):
        write_samples(diffkit.load(trained, *WORDS), trained / "samples/a", n=40, quiet=True, stopped=[2])
    model = diffkit.load(trained, *WORDS, word)
    stems = written(monkeypatch, model)
    write_samples(model, trained / "samples/b", n=model.config.sample.n, quiet=True)
    assert len(stems) == model.config.sample.n


def test_other_weights_begin_a_sampling_of_their_own(trained, monkeypatch):
    for step, expected in ((20, 4), (30, 8)):
        model = diffkit.load(trained, *WORDS, step=step)
        with pytest.raises(Stopped, match="at 4 of 40"):
            write_samples(model, trained / "samples/a", n=40, quiet=True, stopped=[2])
        assert len(list((trained / "samples").glob(".*/*_*"))) == expected


def test_two_at_once_of_the_same_words_are_not_mixed(trained, monkeypatch):
    model, other = diffkit.load(trained, *WORDS), diffkit.load(trained, *WORDS)
    save, refused = model.modality.save, []

    def meanwhile(x, stem, spec):
        if not refused:
            with pytest.raises(diffkit.DiffkitError, match="another process is drawing these samples"):
                write_samples(other, trained / "samples/b", n=40, quiet=True)
            refused.append(True)
        return save(x, stem, spec)

    monkeypatch.setattr(model.modality, "save", meanwhile)
    assert write_samples(model, trained / "samples/a", n=40, quiet=True).is_file() and refused


@pytest.mark.parametrize("said", ["", "[]", '{"done": "x"}', '{"done": -5}'])
def test_a_damaged_note_of_what_is_done_costs_time_alone(trained, tmp_path, said):
    model = diffkit.load(trained, *WORDS)
    whole = write_samples(model, tmp_path / "whole", n=40, quiet=True).parent
    with pytest.raises(Stopped):
        write_samples(model, trained / "samples/a", n=40, quiet=True, stopped=[2])
    (part,) = (trained / "samples").glob(".*")
    (part / "sampling.json").write_text(said)
    assert files(write_samples(model, trained / "samples/a", n=40, quiet=True).parent) == files(whole)


def test_memory_does_not_grow_with_the_number_of_samples(trained, monkeypatch):
    model, alive = diffkit.load(trained, "sample.batch_size=50", "sampler.steps=1", "device=cpu"), []
    sheet = model.modality.sheet
    monkeypatch.setattr(model.modality, "sheet", lambda xs, *rest: (alive.append(len(xs)), sheet(xs, *rest))[1])
    monkeypatch.setattr(model.modality, "save", lambda x, stem, spec: [])
    write_samples(model, trained / "samples/a", n=500, quiet=True)
    assert alive == [100]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_command_goes_on_after_a_signal(command, trained, outside_path, environment, number):
    words = ["sample", str(trained), "sample.n=1500", "sample.batch_size=10", "sampler.steps=1"]
    with subprocess.Popen(
        [os.path.join(os.path.dirname(sys.executable), "diffkit"), *words],
        env=environment(outside_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        while not (found := list((trained / "samples").glob(".*/sampling.json"))):
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=120)
    assert err == ""
    if number == signal.SIGKILL:
        assert process.returncode == -signal.SIGKILL
    else:
        assert process.returncode == 128 + number
        assert "stopped  at " in out and f"next     diffkit sample {trained} sample.n=1500" in out
    done = json.loads(found[0].read_text())["done"]
    assert 0 < done < 1500
    again = command(*words)
    assert again.returncode == 0, again.stderr
    (sheet,) = [line.split()[1] for line in again.stdout.splitlines() if line.startswith("samples")]
    folder = command.folder / sheet
    assert len(list(folder.parent.glob("*_*"))) == 1500
    assert json.loads((folder.parent / "sampling.json").read_text())["n"] == 1500


def test_samples_do_not_depend_on_where_they_were_stopped(trained):
    model = diffkit.load(trained, *WORDS)
    labels = model.labels(8)
    assert torch.equal(model.draw(range(8), labels)[4:], model.draw(range(4, 8), labels[4:]))
