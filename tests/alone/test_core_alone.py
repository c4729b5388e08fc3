"""The core with no plugin beside it; where plugins are installed, they are turned off."""

import json
import os
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest

COMMAND = shutil.which("diffkit", path=Path(sys.executable).parent)


def diffkit(*words, folder):
    plugins = ",".join({point.dist.name for point in entry_points(group="diffkit")})
    env = {**os.environ, "DIFFKIT_DISABLE_PLUGINS": plugins}
    assert COMMAND, "the command diffkit is not installed"
    return subprocess.run([COMMAND, *words], cwd=folder, env=env, capture_output=True, text=True, check=False)


def test_it_says_its_version(tmp_path):
    said = diffkit("--version", folder=tmp_path)
    assert said.returncode == 0
    assert said.stdout.startswith("diffkit 0.")


def test_help_lists_commands_and_groups(tmp_path):
    said = diffkit("--help", folder=tmp_path)
    assert said.returncode == 0
    for word in ("usage", "sample", "resume", "schedule", "net", "recipe"):
        assert word in said.stdout


def test_only_the_core_itself_is_listed(tmp_path):
    said = diffkit("plugins", "list", "--json", folder=tmp_path)
    assert said.returncode == 0
    listed = json.loads(said.stdout)
    assert [plugin["package"] for plugin in listed["plugins"]] == ["diffkit"]
    assert {component["kind"] for component in listed["components"]} <= {"recipe", "command"}


@pytest.mark.parametrize("words", [(), ("schedule=cosine",), ("net=unet", "train.steps=1")])
def test_a_run_says_what_to_install_and_writes_nothing(tmp_path, words):
    said = diffkit(*words, folder=tmp_path)
    assert said.returncode == 2
    assert "is not installed" in said.stderr
    assert "pip install diffkit-" in said.stderr
    assert "Traceback" not in said.stderr
    assert not list(tmp_path.iterdir())
