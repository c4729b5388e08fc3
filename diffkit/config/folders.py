"""A folder of configs of one's own, or a stranger's: it chooses and sets, and runs nothing."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from diffkit.errors import DiffkitError

LARGEST = 1_000_000
"""Bytes of the largest config."""
VALUES = 10_000
"""Values of the largest config: to type and check one takes a kilobyte or two, and time."""
CODE = {"_target_", "()"}
"""Keys by which Hydra and Python's logging are told what to call."""
HYDRA = {"callbacks", "job_logging", "hydra_logging", "searchpath"}
"""What of Hydra's own part would call code, or lead to other folders."""


class PlainLoader(yaml.SafeLoader):  # type: ignore[misc]
    """YAML without aliases, a few lines of which unfold to gigabytes, and of no more than ``VALUES`` values."""

    values = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        """Return the next node, unless it is an alias, or one too many."""
        self.values += 1
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(None, None, "it has an alias", self.peek_event().start_mark)
        if self.values > VALUES:
            raise yaml.constructor.ConstructorError(None, None, f"it has more than {VALUES} values")
        return super().compose_node(parent, index)


def vet(folder: Path) -> None:
    """Raise :class:`~diffkit.DiffkitError` where a config below ``folder`` names code, or would take all memory."""
    for path in sorted(folder.rglob("*.yaml")):
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST // 1_000_000} MB")
            text = path.read_text(encoding="utf-8")
            values = yaml.load(text, PlainLoader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise DiffkitError(f"{path} cannot be read as YAML ({' '.join(str(error).split())[:200]})") from error
        package = any("@package" in line and "hydra" in line for line in text.splitlines() if line.startswith("#"))
        inside = path.relative_to(folder).parts[:2]
        if package or (inside[0] == "hydra" and inside[1] not in ("launcher", "sweeper")):
            raise DiffkitError(f"{path} changes Hydra's own part, which a folder of configs may not; remove it")
        own = values.get("hydra") if isinstance(values, Mapping) else None
        for key in (*_keys(values), *(f"hydra.{key}" for key in HYDRA.intersection(own or {}))):
            if key in CODE or key.startswith("hydra.") or ("@" in key and "hydra" in key):
                raise DiffkitError(f"{path} holds '{key}', which can call code; a config chooses what is installed")


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield str(key)
            yield from _keys(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from [inner] if isinstance(inner, str) and "@" in inner else _keys(inner)
