"""A run that is tracked, and gone on with, through the command's own words."""

import csv
import sys
from types import ModuleType

import pytest

import diffkit

WORDS = ("recipe=spirals", "train.steps=4", "train.log_every=1", "sample.n=2", "sampler.steps=2", "device=cpu")


@pytest.mark.parametrize(
    "words",
    [
        ["tracker=tensorboard"],
        ["tracker=wandb", "tracker.mode=offline", "tracker.title=mine"],
        ["tracker=mlflow", "tracker.uri=sqlite:///mlflow.db"],
        ["tracker=several", "tracker.names=[csv,{name: mlflow, uri: sqlite:///mlflow.db}]"],
    ],
    ids=lambda words: words[0].partition("=")[2],
)
def test_trackers_are_chosen_with_their_options(words, monkeypatch):
    chosen = dict(diffkit.compose("recipe=spirals", *words).tracker)
    for service in ("wandb", "mlflow"):  # no more than there have to be
        monkeypatch.setitem(sys.modules, service, ModuleType(service))
    assert diffkit.build("tracker", chosen) is not None


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_tracker_whose_package_is_missing_is_refused_before_there_is_a_run(name, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(diffkit.DiffkitError, match=rf"pip install 'diffkit-trackers\[{name}\]'"):
        diffkit.train(*WORDS, f"out={tmp_path / 'runs'}", f"tracker={name}")
    assert not (tmp_path / "runs").exists()


def test_a_run_that_goes_on_is_tracked_in_the_same_places_without_secrets(tmp_path, monkeypatch):
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    monkeypatch.setenv("MY_TOKEN", "hunter2hunter2")
    run = diffkit.train(
        *WORDS, f"out={tmp_path / 'hunter2hunter2'}", "tracker=several", "tracker.names=[csv,tensorboard]"
    )
    run = diffkit.run.train.resume(run.path, "train.steps=6")
    rows = list(csv.DictReader((run.path / "metrics.csv").open()))
    assert [row["step"] for row in rows] == list("123456")
    found = reading.EventAccumulator(str(run.path / "tensorboard")).Reload()
    assert [event.step for event in found.Scalars("loss")] == [1, 2, 3, 4, 5, 6]
    assert [event.value for event in found.Scalars("loss")] == pytest.approx([float(row["loss"]) for row in rows])
    assert [event.step for event in found.Images("samples")] == [4, 6]
    config = found.Tensors("config")[0].tensor_proto.string_val[0].decode()
    assert "train.steps: 4" in config
    assert "(hidden)" in config
    assert not [p for p in run.path.rglob("events.*") if b"hunter2" in p.read_bytes()]


def test_a_server_that_does_not_answer_does_not_end_a_training(tmp_path, monkeypatch, capsys):
    from diffkit_training import CSV

    def refuse(self, step, values):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(CSV, "log", refuse)
    run = diffkit.train(*WORDS, f"out={tmp_path}", "tracker=csv")
    assert run.step == 4
    assert "tracker=csv was not told of step 3: no route to host" in capsys.readouterr().out
