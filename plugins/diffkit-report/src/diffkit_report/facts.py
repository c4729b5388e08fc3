"""A run in figures: its config on one level, and what came of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, prod
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from diffkit import RunFolder, redacted
from diffkit_report.history import History, read_history

LARGEST_JSON = 1_000_000
"""Bytes of the largest file of figures beside samples that is read."""
TAIL = 10
"""The loss at the end is the mean of the last of so many parts of a training, since that of one batch is noise."""


@dataclass(frozen=True)
class Facts:
    """What one run's folder says of it. Secrets are hidden in the config.

    Args:
        folder: the run.
        name: what it is called beside others.
    """

    folder: RunFolder
    name: str

    @cached_property
    def history(self) -> History:
        """What was logged."""
        return read_history(self.folder.path)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The config, by section."""
        return redacted(self.folder.read_config())

    @cached_property
    def options(self) -> dict[str, Any]:
        """The config on one level: ``net.width`` and so on; a component's name stands under its kind."""
        return {key: value for key, value in _flat(self.config).items() if key != "out"}

    @cached_property
    def results(self) -> dict[str, float]:
        """What came of the run, by name."""
        values = self.history.values
        results: dict[str, float] = {"steps": self.history.last_step}
        if (size := parameters(self.folder.path)) is not None:
            results["parameters"] = size
        if "loss" in values:
            points = values["loss"]
            tail = points[-max(1, len(points) // TAIL) :]
            results["loss, last tenth"] = sum(value for _, value in tail) / len(tail)
        for name in ("loss", "val_loss"):
            if name in values:
                results[f"{name}, last"] = values[name][-1][1]
                results[f"{name}, best"] = min(value for _, value in values[name])
        if (seconds := self._seconds()) is not None:
            results["seconds"] = seconds
        others = {name: points[-1][1] for name, points in values.items() if not name.startswith(("loss", "val_loss"))}
        return {**others, **results, **self._of_samples()}

    def _seconds(self) -> float | None:
        """Return how long the steps took: as logged, or at the last rate, which is that of all steps since a start."""
        values = self.history.values
        if "seconds" in values:
            return None
        step, rate = values.get("steps_per_second", [(0, 0.0)])[-1]
        return step / rate if rate > 0 else None

    def _of_samples(self) -> dict[str, float]:
        """Return the figures in the JSON files beside the newest samples."""
        from diffkit_report.media import samplings

        found: dict[str, float] = {}
        for folder in samplings(self.folder.path)[-1:]:
            for path in sorted(folder.glob("*.json")):
                for name, value in _figures(path).items():
                    found[f"samples, {name}"] = value
        return found


def parameters(run: Path) -> int | None:
    """Return how many numbers a run's model has, by the headers of its newest checkpoint, or of an exported model."""
    for place in (*sorted(run.glob("checkpoints/step-*"), reverse=True), run):
        paths = [path for path in place.glob("model*.safetensors") if path.is_file() and not path.is_symlink()]
        try:
            if paths:
                return sum(map(_numbers, paths))
        except (OSError, SafetensorError):
            continue
    return None


def _numbers(path: Path) -> int:
    with safe_open(path, framework="np") as file:
        return sum(prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118


def text(value: Any) -> str:
    """Return a value as a person reads it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "–"}[value]
    if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and 1e3 <= abs(value) < 1e15):
        return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.0f}"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(map(text, value)) or "none"
    return "".join(letter if letter.isprintable() else "�" for letter in str(value))


def _flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        name = prefix.removesuffix(".") if prefix and key == "name" else f"{prefix}{key}"
        if isinstance(value, Mapping):
            flat.update(_flat(value, f"{name}."))
        else:
            flat[name] = value
    return flat


def described(path: Path) -> dict[str, Any]:
    """Return the JSON object that a file beside samples holds, or an empty one where it holds none."""
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST_JSON:
            return {}
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _figures(path: Path) -> dict[str, float]:
    numbers = {
        name: value
        for name, value in described(path).items()
        if type(value) in (int, float) and name not in ("n", "seed")
    }
    return {name: float(value) for name, value in numbers.items() if abs(value) < 1e300 and isfinite(value)}
