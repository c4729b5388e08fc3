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
    kept = yaml.safe_load((trained / "sampling.yaml").read_text())
    assert (kept["sampler"]["name"], kept["sampler"]["steps"], kept["grid"]["name"]) == ("exp_adams", 6, "explicit")
    assert [row[0] for row in kept["sampler"]["fitted"]] == pytest.approx(kept["grid"]["lams"], abs=1e-6)
    drawn = command("sample", trained, "sample.n=2")
    assert drawn.returncode == 0, drawn.stderr
    other = command("sample", trained, "sample.n=2", "sampler.steps=9")
    assert other.returncode == 2
    assert "lists 6 lams, but the sampler takes 9 steps" in other.stderr
    assert "diffkit calibrate RUN sampler.steps=9" in other.stderr


def test_what_is_kept_holds_until_a_word_chooses_otherwise(trained, tmp_path):
    trained_with = diffkit.load(trained).config
    config = (trained / "config.yaml").read_bytes()
    levels = {"name": "explicit", "lams": [-4.0, -1.0, 3.0]}
    diffkit.keep(trained, sampler={"name": "exp_adams", "steps": 3}, grid=levels)
    model = diffkit.load(diffkit.export(trained, tmp_path / "model"))
    for loaded in (model, diffkit.load(trained), diffkit.load(trained, "guidance=cfg", "seed=3")):
        assert (loaded.config.sampler.name, loaded.config.grid.name) == ("exp_adams", "explicit")
    for words in (["sampler=heun", "sampler.steps=5"], ["+sampler=heun"]):
        chosen = diffkit.load(trained, *words).config
        assert (chosen.sampler.name, chosen.get("grid")) == ("heun", trained_with.get("grid"))
    for word, grid in (("grid=karras", "karras"), ("~grid", None)):
        chosen = diffkit.load(trained, word).config
        assert chosen.sampler == trained_with.sampler and (chosen.get("grid") or {}).get("name") == grid
    diffkit.keep(trained, guidance={"name": "cfg"})
    config_now = diffkit.load(trained).config
    assert (config_now.guidance.name, config_now.sampler) == ("cfg", trained_with.sampler)
    assert (trained / "config.yaml").read_bytes() == config


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("sampler: {name: hein}", "did you mean 'heun'"),
        ("sampler: heun", "with sampling.yaml holds no name for its sampler"),
        ("train: {steps: 3}", "not train"),
        ("sampler: {name: heun, steps: '${oc.env:HOME}'}", "interpolation"),
        ("[1, 2]", "does not say how to sample"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_what_is_kept_badly_is_said(trained, text, said):
    (trained / "sampling.yaml").write_text(text)
    with pytest.raises(DiffkitError, match=re.escape(said)):
        diffkit.load(trained)


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
    with pytest.raises(DiffkitError, match=said):
        diffkit.keep(trained, **choice)
    assert not (trained / "sampling.yaml").exists()


@pytest.mark.parametrize("word", ["sampler=heun", "grid=karras"])
def test_what_is_not_calibrated_is_not_taken_for_it(command, trained, word):
    done = command("calibrate", trained, word)
    assert done.returncode == 2
    assert f"{word} is not what is calibrated, which is exp_adams and its grid; leave it out" in done.stderr
    assert not (trained / "sampling.yaml").exists()
