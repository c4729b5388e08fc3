"""A run's numbers as a table."""

import csv
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from diffkit import DiffkitError


class CSV:
    """Writes the logged numbers to a CSV file in the run's folder, one line a log, for spreadsheets and pandas.

    When a run goes on, or back after a failure, lines of steps that are taken again are replaced, and so is a line torn
    by a crash.

    Args:
        file: the file's name.

    Raises:
        DiffkitError: where ``file`` is a path rather than a name, or cannot be written.
    """

    def __init__(self, file: str = "metrics.csv") -> None:
        if not file or Path(file).name != file:
            raise DiffkitError(f"file={file} is not the name of a file in the run's folder; give one: metrics.csv")
        self.file = file
        self._path = Path(file)
        self._columns: list[str] | None = None
        self._last = 0

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Take note of the folder."""
        self._path, self._columns = folder / self.file, None

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Append a line; a name not seen before becomes another column."""
        row = {"step": step, **values}
        try:
            back = self._columns is None or step < self._last
            if back or not set(row) <= set(self._columns or ()):
                self._rewrite(step if back else step + 1, row)
            self._last = step
            with self._path.open("a", newline="", encoding="utf-8") as file:
                csv.DictWriter(file, self._columns or ()).writerow(row)
        except OSError as error:
            raise DiffkitError(f"{self._path} cannot be written ({error.strerror})") from error

    def sheet(self, step: int, path: Path) -> None:
        """Do nothing: a table holds no pictures."""

    def close(self) -> None:
        """Do nothing: every line is written at once."""

    def _rewrite(self, step: int, row: Mapping[str, Any]) -> None:
        """Keep the whole lines of steps below ``step``, under the columns of old and of ``row``; all at once or not."""
        columns, kept = self._read()
        self._columns = list(dict.fromkeys((*columns, *row)))
        part = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        with part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(old for old in kept if int(old["step"]) < step)
        part.replace(self._path)

    def _read(self) -> tuple[Iterable[str], list[dict[str, str]]]:
        if not self._path.exists():
            return (), []
        with self._path.open(newline="", encoding="utf-8", errors="replace") as file:
            reader = csv.DictReader(line for line in file if line.endswith("\n"))
            rows = [row for row in reader if None not in row.values() and str(row.get("step")).isdigit()]
        return reader.fieldnames or (), rows
