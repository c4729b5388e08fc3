"""What a run logged: ``metrics.jsonl``, read line by line."""

import json
from dataclasses import dataclass
from pathlib import Path

from diffkit import DiffkitError

Points = list[tuple[float, float]]
LARGEST = 1e30
"""A number beyond this is no figure of a training, and would overflow a chart."""
LONGEST_LINE = 1_000_000
"""Characters of the longest line that is read."""
MOST_KEYS = 1000
"""How many names of values are told apart."""


@dataclass(frozen=True)
class History:
    """Every logged value by name, as points (step, value) in the order of steps, and how many lines were unreadable."""

    values: dict[str, Points]
    skipped: int

    @property
    def last_step(self) -> int:
        """The last step that was logged."""
        return int(max(points[-1][0] for points in self.values.values()))


def read_history(run: Path) -> History:
    """Return what a run logged; of a step that was logged twice, the later line counts.

    Raises:
        DiffkitError: where nothing was logged yet.
    """
    path = run / "metrics.jsonl"
    found: dict[str, dict[int, float]] = {}
    skipped = 0
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            while line := file.readline(LONGEST_LINE):
                skipped += not _take(line, found)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise DiffkitError(f"{path} cannot be read ({error.strerror})") from error
    if not any(found.values()):
        unreadable = f", and {skipped} lines are unreadable" if skipped else ""
        if not (path.parent / "checkpoints").is_dir() and (path.parent / "model.safetensors").is_file():
            raise DiffkitError(f"{run} is an exported model, which has no numbers of a training; give the run it is of")
        raise DiffkitError(f"{run} has logged no numbers yet{unreadable}; train it on: diffkit resume {run}")
    return History({name: sorted(by_step.items()) for name, by_step in found.items() if by_step}, skipped)


def _take(line: str, found: dict[str, dict[int, float]]) -> bool:
    """Add the finite numbers of a line; return whether it is one that a run writes."""
    try:
        values = json.loads(line)
        step = values.pop("step")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return False
    if type(step) is not int or not 0 <= step < LARGEST:
        return False
    for name, value in values.items():
        if type(value) in (int, float) and abs(value) < LARGEST and (name in found or len(found) < MOST_KEYS):
            found.setdefault(name, {})[step] = float(value)
    return True
