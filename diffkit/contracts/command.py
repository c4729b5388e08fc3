"""Commands: the bare first word of a command line."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


@runtime_checkable
class Command(Protocol):
    """A command: a callable that is given the words after its own name and returns the exit status."""

    def __call__(self, words: Sequence[str]) -> int:
        """Run; raise :class:`~diffkit.DiffkitError` for a user's mistake."""
        ...
