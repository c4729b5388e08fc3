"""What commands on a run have in common: their first word is the run, and they import what takes seconds."""

import gc
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from diffkit.errors import DiffkitError


def run_word(command: str, words: Sequence[str], example: str) -> tuple[str, list[str]]:
    """Return the run a command is about and the words after it."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise DiffkitError(
            f"diffkit {command} needs a run: its folder, or last; for example diffkit {command} last {example}"
        )
    return words[0], list(words[1:])


@contextmanager
def importing() -> Iterator[None]:
    """Look for no garbage among what is imported meanwhile, which stays: looking takes a fifth of the time."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
