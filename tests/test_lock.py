"""plugins.lock: what a run was made with, and what is said where that has changed since."""

import json

import pytest
import torch

import diffkit
from diffkit.run import lock
from diffkit.run.folder import RunFolder
from diffkit.run.load import SAMPLING, read_run
from diffkit.run.train import resume


@pytest.fixture
def said(trained):
    """Return a function that changes a run's lock, and returns what is said of it."""

    def changed(change, *words):
        path = trained / "plugins.lock"
        values = json.loads(path.read_text())
        change(values)
        path.write_text(json.dumps(values))
        config = read_run(RunFolder.find(trained), words, SAMPLING, "sample")
        return lock.changes(values, config)

    changed.run = trained
    return changed


def test_a_lock_names_what_reproducing_a_run_takes(trained):
    values = json.loads((trained / "plugins.lock").read_text())
    assert values["diffkit"] == diffkit.__version__ and values["torch"] == torch.__version__
    assert values["plugins"]["diffkit-spirals"] == "1.2.3"
    assert values["components"]["net"]["package"] == "diffkit-spirals"
    assert {"schedule", "net", "prediction", "sampler", "data", "optim"} <= set(values["components"])


def test_nothing_is_said_where_nothing_changed(said):
    assert said(lambda values: None) == []


@pytest.mark.parametrize(
    ("field", "value", "how"),
    [
        ("version", "1.2.2", "diffkit-spirals 1.2.2, now 1.2.3"),
        ("sha256", "0" * 64, "its source, still diffkit-spirals 1.2.3"),
    ],
)
def test_a_component_of_another_version_or_source_is_named(said, field, value, how):
    (line,) = said(lambda values: values["components"]["net"].update({field: value}))
    assert line == f"net 'dense' has changed since the run began ({how})"


@pytest.mark.parametrize("package", ["diffkit", "torch"])
def test_so_is_another_version_of_what_is_below_them(said, package):
    (line,) = said(lambda values: values.update({package: "0.0.1"}))
    assert line.startswith(f"the run began with {package} 0.0.1, and this is ")


def test_a_component_that_is_no_longer_chosen_is_not_compared(said):
    assert said(lambda values: values["components"]["sampler"].update(version="0"), "sampler=ddim") == []


def test_it_is_said_where_a_run_goes_on_and_where_it_is_sampled(said, command, capsys):
    said(lambda values: values["components"]["net"].update(version="1.2.2\x1b[2J"))
    note = "note     net 'dense' has changed since the run began (diffkit-spirals 1.2.2 [2J, now 1.2.3)\n"
    assert note in command("sample", said.run, "sample.n=1", "sampler.steps=1").stdout
    resume(said.run, "train.steps=31", "sample.n=1", "sampler.steps=1")
    assert note in capsys.readouterr().out
