"""Sixty configs of strangers: as a run's config.yaml, as words, and as a folder of configs."""

import sys

import pytest
import yaml

import diffkit
from diffkit.cli import main
from diffkit.run.train import resume

EVIL = "hostile_module.Evil"
ENV = "${oc.env:CANARY_TOKEN}"


def put(path, value):
    """Return a change of a config: ``path`` set to ``value``."""

    def change(config):
        *above, last = path
        for key in above:
            config = config.setdefault(key, {})
        config[last] = value

    return change


TARGETS = {
    **{
        f"_target_ in {kind}": put((kind, "_target_"), EVIL) for kind in ("net", "schedule", "sampler", "data", "train")
    },
    "_target_ at the top": put(("_target_",), EVIL),
    "_target_ as a whole component": put(("net",), {"_target_": EVIL}),
    "_target_ beside a name": put(("grid",), {"name": "karras", "_target_": EVIL}),
    "_target_ deep inside": put(("net", "width"), {"a": {"_target_": EVIL}}),
    "_target_ within a label": put(("sample", "label"), [{"_target_": EVIL}]),
    "_partial_": put(("net", "_partial_"), True),
}
NAMES = {
    f"named {str(name)[:30]!r}": put(("net", "name"), name)
    for name in (
        EVIL, "hostile_module:Evil", "os.system", "../../elsewhere/canary", "/etc/passwd", "\x1b[31mdense", "dense\n",
        "diffkit_spirals.model:Dense", "pkg://hostile_module", "file:///etc/passwd", "", 5, None, ["dense"], {"a": 1},
        "d" * 10**6,
    )
}  # fmt: skip
INTERPOLATIONS = {
    f"interpolates {text[:40]!r} in {'.'.join(path)}": put(path, text)
    for path, text in (
        (("out",), ENV),
        (("recipe",), ENV),
        (("net", "name"), ENV),
        (("net", "width"), ENV),
        (("sample", "label"), f"x{ENV}"),
        (("sample", "label"), ["a", ENV]),
        (("data", "path"), ENV),
        (("out",), "${oc.env:HOME,x}"),
        (("out",), "${oc.decode:${oc.env:CANARY_TOKEN}}"),
        (("out",), "${oc.create:{_target_: os.system}}"),
        (("out",), "${hydra:runtime.cwd}"),
        (("out",), "${python_version:}"),
        (("out",), "${hostile:1}"),
        (("out",), "${net.width}${out}"),
        (("out",), "\\${oc.env:CANARY_TOKEN}"),
    )
}
PARTS = {
    "with Hydra's own part": put(("hydra",), {"searchpath": ["pkg://hostile_module"]}),
    "with a defaults list": put(("defaults",), ["/etc/passwd"]),
    "with a package": put(("@package",), "_global_"),
    "without a number of steps": put(("train", "steps"), float("nan")),
    "with a tracker that writes elsewhere": put(("tracker",), {"name": "csv", "file": "../../elsewhere/canary.txt"}),
    "with a device that is a path": put(("device",), "../elsewhere/canary.txt"),
    "with a sampler's option of another kind": put(("sampler", "steps"), "__import__('hostile_module')"),
}


@pytest.mark.parametrize("change", [*TARGETS, *NAMES, *INTERPOLATIONS, *PARTS])
def test_of_a_run_is_refused(refused, trained, change):
    path = trained / "config.yaml"
    config = yaml.safe_load(path.read_text())
    {**TARGETS, **NAMES, **INTERPOLATIONS, **PARTS}[change](config)
    path.write_text(yaml.safe_dump(config))
    refused(resume, trained, "train.steps=31")


TAGS = (
    "!!python/object/apply:hostile_module.Evil []",
    "!!python/object:hostile_module.Evil {}",
    "!!python/name:hostile_module.Evil",
    "!!python/module:hostile_module",
    "!!python/object/new:os.system [touch canary]",
    "!hydra x",
)


@pytest.mark.parametrize("name", ["config.yaml", "sampling.yaml"])
@pytest.mark.parametrize("tag", TAGS)
def test_with_a_tag_is_refused(refused, trained, tag, name):
    with (trained / name).open("a") as file:
        file.write(f"extra: {tag}\n")
    refused(diffkit.load, trained)


WORDS = (
    f"net._target_={EVIL}",
    f"+net={{_target_: {EVIL}}}",
    f"hydra.callbacks={{x: {{_target_: {EVIL}}}}}",
    f"+hydra.launcher._target_={EVIL}",
)
QUICK = ("recipe=spirals", "train.steps=1", "sample.n=1", "device=cpu")


@pytest.mark.parametrize("word", WORDS)
def test_as_a_word_is_refused(refused, tmp_path, monkeypatch, word):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["diffkit"])
    refused(main.run, [*QUICK, word])


FOLDERS = {
    "_target_ in a recipe": f"# @package _global_\nnet:\n  _target_: {EVIL}\n",
    "a callback of Hydra's": f"# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: {EVIL}\n",
    "a launcher of Hydra's": f"# @package _global_\nhydra:\n  launcher:\n    _target_: {EVIL}\n",
    "a way of logging": "# @package _global_\nhydra:\n  job_logging:\n    version: 1\n    handlers:\n      x:\n"
    f"        (): {EVIL}\n    root:\n      handlers: [x]\n",
    "a package that is not its own": f"# @package hydra.callbacks.x\n_target_: {EVIL}\n",
    "a variable of the environment": f"# @package _global_\nsample:\n  label: {ENV}\n",
    "a search path": "# @package _global_\nhydra:\n  searchpath: ['pkg://hostile_module']\n",
}


@pytest.mark.parametrize("recipe", FOLDERS)
def test_in_a_folder_of_configs_runs_no_code(attempt, tmp_path, monkeypatch, recipe):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["diffkit"])
    folder = tmp_path / "configs/recipe"
    folder.mkdir(parents=True)
    (folder / "evil.yaml").write_text(FOLDERS[recipe])
    words = ["data=spirals", "net=dense", "net.width=8", *QUICK[1:], "sampler.steps=1"]
    attempt(main.run, ["--config-dir", str(tmp_path / "configs"), "recipe=evil", *words])
    for path in tmp_path.rglob("runs/**/*"):
        if path.is_file():
            assert b"hunter2" not in path.read_bytes(), path


def test_there_are_sixty_of_them():
    assert len([*TARGETS, *NAMES, *INTERPOLATIONS, *PARTS, *TAGS, *WORDS, *FOLDERS]) >= 60
