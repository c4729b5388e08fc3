"""What README.md shows in Python runs, and what it says of installed names is so."""

import re
from pathlib import Path

import torch

from diffkit.testing import check_schedule

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


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
