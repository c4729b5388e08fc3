"""What README.md shows in Python runs, and what it says of installed names is so."""

import re
from pathlib import Path

import pytest
import torch
from diffkit_schedules import Cosine

from diffkit import DataSpec, build
from diffkit.testing import check_schedule

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = PYTHON.findall(README)
FOLDERS = {"audio": "recordings", "image": "birds/robin", "video": "Videos/cats"}
"""Where the pages of these plugins have files of the reader's, some of which cannot be read."""
SPECS = {
    "audio": DataSpec(1, (16000,), rate=16000.0),
    "image": DataSpec(3, (16, 16)),
    "video": DataSpec(1, (8, 16, 16), rate=8.0),
}


def test_the_session_in_python_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    session = next(block for block in BLOCKS if "diffkit.train(" in block)
    names: dict[str, object] = {}
    exec(session.replace("train.steps=300", "train.steps=3").replace("schedule=cosine", "sample.n=2"), names)
    x = names["x"]
    assert isinstance(x, torch.Tensor)
    assert x.shape == (16, 1, 8, 8)


def test_plain_objects_run():
    names: dict[str, object] = {}
    exec(next(block for block in BLOCKS if "Denoiser(" in block), names)
    x = names["x"]
    assert isinstance(x, torch.Tensor)
    assert x.shape == (4, 1, 8, 8)
    assert x.isfinite().all()


def test_the_schedule_it_teaches_keeps_the_contract():
    names: dict[str, object] = {}
    exec(next(block for block in BLOCKS if "class Root" in block), names)
    check_schedule(names["Root"]())


def test_the_plugin_it_teaches_registers_it():
    names: dict[str, object] = {}
    exec(next(block for block in BLOCKS if "@hookimpl" in block), names)
    (component,) = names["diffkit_schedules"]()
    assert (component.name, component.target) == ("root", "my_package.root:Root")


@pytest.mark.parametrize("plugin", sorted(path.name[8:] for path in (ROOT / "plugins").glob("diffkit-*")))
def test_what_a_plugins_page_shows_runs_from_top_to_bottom(plugin, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    if plugin == "trackers":
        pytest.importorskip("tensorboard", reason="the tracker that the page shows has an extra of its own")
    if plugin in FOLDERS:
        folder, spec = tmp_path / FOLDERS[plugin], SPECS[plugin]
        folder.mkdir(parents=True)
        build("modality", plugin, spec=spec).save(torch.rand(spec.channels, *spec.shape), folder / "first", spec)
        (folder / "last.gif").write_bytes(b"GIF")
    names: dict[str, object] = {"Mine": Cosine}  # a class of the reader's
    blocks = PYTHON.findall((ROOT / "plugins" / f"diffkit-{plugin}" / "README.md").read_text(encoding="utf-8"))
    for block in blocks:
        exec(block.replace("range(400)", "range(4)"), names)
    assert blocks or plugin == "report"
