"""What the commands are given: a run, files, settings of their own, and those of ``diffkit sample``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import diffkit
from diffkit import DiffkitError, Model


class Request(NamedTuple):
    """A command line, read: the run's model, the files, and the command's own settings."""

    model: Model
    files: list[Path]
    settings: dict[str, Any]


def read(command: str, words: Sequence[str], own: dict[str, Any], example: str) -> Request:
    """Return what the words after a command's name mean.

    Args:
        command: its name.
        words: a run, files or folders, and settings.
        own: the settings of the command itself, with their defaults; the others are those of ``diffkit sample``.
        example: words for the sentence that asks for a run.

    Raises:
        DiffkitError: where there is no run, or a word does not fit.
    """
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise DiffkitError(
            f"diffkit {command} needs a run: its folder, or last; for example diffkit {command} last {example}"
        )
    settings, others, files = dict(own), [], []
    for word in words[1:]:
        key, equals, value = word.partition("=")
        if key not in own and (Path(word).exists() or (not equals and not word.startswith(("-", "+", "~")))):
            files.append(Path(word))
        elif equals and key in own:
            settings[key] = _typed(key, value, own[key])
        else:
            others.append(word)
    return Request(diffkit.load(words[0], *others), files, settings)


def _typed(key: str, value: str, default: Any) -> Any:
    """Return a setting as the type that its default has."""
    if isinstance(default, str):
        return value
    try:
        return type(default)(value)
    except ValueError as error:
        kind = "a whole number" if isinstance(default, int) else "a number"
        raise DiffkitError(f"{key}={value} is not {kind}; its default is {key}={default}") from error
