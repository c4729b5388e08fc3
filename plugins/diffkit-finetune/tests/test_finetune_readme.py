"""What README.md shows in Python runs."""

import re
from pathlib import Path


def test_the_example_runs():
    readme = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    exec(re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0], names)
    assert names["trained"]
