"""Where a run's numbers are at a service that cannot take them back: its id there, and the last step it was told."""

import json
import os
from pathlib import Path
from typing import Any

from diffkit import DiffkitError


class Place:
    """A small JSON file in the run's folder, so that a run that goes on does so in the same place.

    A step is new where the service was not told of it before. A run that goes on from a checkpoint takes some steps
    again; they come out the same, and are not sent twice.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        known = self._read()
        self.id: str | None = known["id"] if isinstance(known.get("id"), str) else None
        step = known.get("step")
        self._last = step if isinstance(step, int) else -1
        self._least = self._last + 1

    def is_new(self, step: int) -> bool:
        """Return whether the service may be told of ``step``; it may be told more of its last one."""
        return step >= self._least

    def begin(self, id: str) -> None:
        """Take note of another id, under which nothing is known yet."""
        self.id, self._last, self._least = id, -1, 0
        self._write()

    def told(self, step: int) -> None:
        """Take note that the service was told of ``step``."""
        if step > self._last:
            self._last = self._least = step
            self._write()

    def _read(self) -> dict[str, Any]:
        try:
            known = json.loads(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise DiffkitError(f"{self.path} cannot be read ({error}); remove it to track the run anew") from error
        return known if isinstance(known, dict) else {}

    def _write(self) -> None:
        part = self.path.with_name(f".{self.path.name}.{os.getpid()}")
        try:
            part.write_text(json.dumps({"id": self.id, "step": self._last}) + "\n", encoding="utf-8")
            part.replace(self.path)
        except OSError as error:
            raise DiffkitError(f"{self.path} cannot be written ({error.strerror})") from error
