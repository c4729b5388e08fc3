"""Secrets of the environment are nowhere in a run or in what is said of it; a plugin's metadata is only text."""

import json
import sys
import warnings

import pytest

import diffkit
from diffkit.cli import main
from diffkit.run.train import resume

SECRET = "hunter2-5f1e0c"
VARIABLES = (
    "WANDB_API_KEY", "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY",
    "GITHUB_TOKEN", "OPENAI_API_KEY", "DATABASE_PASSWORD", "GOOGLE_APPLICATION_CREDENTIALS", "SSH_PRIVATE_KEY",
)  # fmt: skip


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_secret_is_in_no_file_and_no_sentence(attempt, tmp_path, monkeypatch, variable):
    monkeypatch.setenv(variable, SECRET)
    monkeypatch.chdir(tmp_path)
    words = ["recipe=spirals", "train.steps=2", "train.log_every=1", "sample.n=1", "sampler.steps=1", "device=cpu"]
    runs = []
    assert attempt(lambda: runs.append(diffkit.train(*words, "tracker=csv", f"out={tmp_path / 'runs'}").path)) is None
    for path in runs[0].rglob("*"):
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path
    (runs[0] / "config.yaml").write_text((runs[0] / "config.yaml").read_text() + f"x: ${{oc.env:{variable}}}\n")
    assert attempt(resume, runs[0], "train.steps=3") is not None


ESCAPES = "\x1b]0;owned\x07\x1b[2J\x1b[31mred\r\x08"
SUMMARIES = {
    "a summary that clears the screen": ESCAPES,
    "a summary with markup": "[bold red]x[/] [link=file:///etc/passwd]y[/link]",
    "a summary with markup that does not close": "[/bold]",
    "a summary of several lines": "one\n\nPROBLEM  two",
    "a summary that turns the text round": "\u202eevil\u2066",
}


@pytest.mark.parametrize("summary", SUMMARIES)
@pytest.mark.parametrize("words", [["plugins", "list"], ["plugins", "info", "mine"]])
def test_a_summary_is_only_text(make_plugin, install, capsys, summary, words):
    component = f"Component('mine', 'diffkit_spirals.model:PlainAdam', {SUMMARIES[summary]!r})"
    source = f"@hookimpl\ndef diffkit_optimizers():\n    yield {component}\n"
    install(make_plugin("my-text", source))
    assert main.run(words) == 0
    out = capsys.readouterr().out
    assert all(letter.isprintable() or letter == "\n" for letter in out)
    if "markup" in summary:
        assert SUMMARIES[summary].split()[0] in out, "shown as it is"


@pytest.mark.parametrize("name", ["../../x", "a b", "a\x1b[31m", "[red]", "a/b", "a=b", "", "a.b"])
def test_a_name_that_is_more_than_a_word_is_set_aside(make_plugin, install, name):
    source = (
        f"@hookimpl\ndef diffkit_optimizers():\n    yield Component({name!r}, 'diffkit_spirals.model:PlainAdam', 'x')\n"
    )
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        install(make_plugin("my-name", source))
        from diffkit.plugins import installed

        assert "my-name" in installed().quarantined
    assert any("my-name" in str(one.message) for one in said)


@pytest.mark.parametrize("target", ["os:system", "../x:y", "x y:z", "hostile_module:Evil:Evil", "hostile_module"])
def test_a_target_is_not_imported_before_it_is_chosen(attempt, make_plugin, install, target):
    source = f"@hookimpl\ndef diffkit_optimizers():\n    yield Component('mine', {target!r}, 'x')\n"
    install(make_plugin("my-target", source))
    attempt(lambda: main.run(["plugins", "list"]))


@pytest.mark.parametrize("field", ["package", "version", "name"])
def test_what_a_stranger_s_lock_says_reaches_the_terminal_as_text(trained, field):
    lock = json.loads((trained / "plugins.lock").read_text())
    lock["components"]["net"][field] = ESCAPES
    (trained / "plugins.lock").write_text(json.dumps(lock))
    with pytest.raises(diffkit.DiffkitError) as error:
        lock["components"]["net"]["package"] = ESCAPES
        (trained / "plugins.lock").write_text(json.dumps(lock))
        diffkit.load(trained)
    assert str(error.value).isprintable()


def test_nor_does_a_warning_do_more_than_be_read(capsys):
    main._show_warning(f"plugin 'x' is set aside: {ESCAPES}")
    assert "\x1b" not in capsys.readouterr().err
    assert sys.stderr is not None
