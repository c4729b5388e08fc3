"""Which runs words mean."""

import os
from collections.abc import Sequence
from pathlib import Path

from diffkit import RunFolder
from diffkit_report.facts import Facts


def find_runs(words: Sequence[str]) -> list[Facts]:
    """Return the runs that words mean, each once: a run's folder, ``last``, or a folder of runs such as a sweep's.

    Raises:
        DiffkitError: where one is not a run and holds none.
    """
    found: dict[Path, RunFolder] = {}
    for word in words:
        inside = [path.parent for path in Path(word).glob("*/config.yaml")] if word != "last" else []
        own = word == "last" or Path(word, "config.yaml").exists() or not inside
        for folder in [word] if own else sorted(inside, key=_in_order):
            run = RunFolder.find(folder)
            found.setdefault(run.path.resolve(), run)
    names = _names(list(found))
    return [Facts(run, name) for run, name in zip(found.values(), names, strict=True)]


def _in_order(path: Path) -> tuple[bool, int, str]:
    """Order the runs of a sweep by number, and others by name."""
    number = path.name.isdecimal()
    return not number, int(path.name) if number and len(path.name) < 10 else 0, path.name


def _names(paths: Sequence[Path]) -> list[str]:
    """Return what tells folders apart: what follows the one that all are in."""
    if len(paths) < 2:
        return [path.name for path in paths]
    shared = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(shared).as_posix() for path in paths]
