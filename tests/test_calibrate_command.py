"""``diffkit calibrate`` and ``diffkit.keep``: a run's own way of sampling, found and kept."""

import re

import pytest
import yaml

import diffkit
from diffkit import DiffkitError


def test_calibrate_keeps_what_it_found_and_sample_uses_it(command, trained):
    done = command("calibrate", trained, "sampler.steps=6")
    assert done.returncode == 0, done.stderr
    assert re.search(r"calibrate \d+/1222 ", done.stdout)
    assert 1100 < int(re.search(r"after (\d+) evaluations", done.stdout)[1]) <= 1222
    kept = yaml.safe_load((trained / "config.yaml").read_text())
    assert (kept["sampler"]["name"], kept["sampler"]["steps"], kept["grid"]["name"]) == ("exp_adams", 6, "explicit")
    assert [row[0] for row in kept["sampler"]["fitted"]] == pytest.approx(kept["grid"]["lams"], abs=1e-6)
    drawn = command("sample", trained, "sample.n=2")
    assert drawn.returncode == 0, drawn.stderr
    other = command("sample", trained, "sample.n=2", "sampler.steps=9")
    assert other.returncode == 2
    assert "lists 6 lams, but the sampler takes 9 steps" in other.stderr
    assert "diffkit calibrate RUN sampler.steps=9" in other.stderr


@pytest.mark.parametrize("words", [(), ("sampler.steps=6",)])
def test_calibrate_without_a_run_says_what_to_type(command, words):
    done = command("calibrate", *words)
    assert done.returncode == 2
    assert "diffkit calibrate last sampler.steps=20" in done.stderr


def test_a_run_keeps_a_choice_of_sampling(trained):
    diffkit.keep(trained, sampler={"name": "heun", "steps": 5})
    config = diffkit.load(trained).config
    assert (config.sampler.name, config.sampler.steps) == ("heun", 5)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"net": {"name": "mlp"}}, "not net"),
        ({"sampler": {"name": "hein"}}, "did you mean 'heun'"),
        ({"sampler": {"name": "heun", "steps": 0}}, "steps=0"),
        ({"grid": {"name": "karras", "row": 3}}, "row"),
    ],
)
def test_a_choice_that_does_not_fit_changes_nothing(trained, choice, said):
    before = (trained / "config.yaml").read_bytes()
    with pytest.raises(DiffkitError, match=said):
        diffkit.keep(trained, **choice)
    assert (trained / "config.yaml").read_bytes() == before


@pytest.mark.parametrize("word", ["sampler=heun", "grid=karras"])
def test_what_is_not_calibrated_is_not_taken_for_it(command, trained, word):
    before = (trained / "config.yaml").read_text()
    done = command("calibrate", trained, word)
    assert done.returncode == 2
    assert f"{word} is not what is calibrated, which is exp_adams and its grid; leave it out" in done.stderr
    assert (trained / "config.yaml").read_text() == before
