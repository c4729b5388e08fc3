"""What the README shows in Python runs."""

import re
from pathlib import Path

import pytest

from diffkit.testing.sampler import SCHEDULES

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_the_python_of_the_readme_runs():
    pytest.importorskip("diffkit_samplers")
    source = "\n".join(BLOCKS).replace('build("schedule", "cosine")', "schedule").replace("steps=50", "steps=6")
    names = {"schedule": SCHEDULES[0]}
    exec(source, names)
    assert names["x"].isfinite().all()
    assert names["between"].shape == (5, 4, 2)
    assert names["bits"].shape == (16,)
