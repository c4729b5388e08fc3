"""The one exception a user's mistake raises, and the words for a near miss."""

from collections.abc import Iterable
from difflib import get_close_matches


class DiffkitError(Exception):
    """A mistake that whoever typed the command can mend.

    Its text is one sentence: what was asked, what is there, what to type next. The command line prints it
    without a traceback and exits with status 2. What of it came from a file cannot do anything to a terminal.
    """

    def __str__(self) -> str:
        return plain(super().__str__())


def plain(text: str) -> str:
    """Return ``text`` without characters that a terminal would obey instead of showing."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return ``" (did you mean 'x'?)"`` for a close match of ``word``, else an empty string."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean '{close[0]}'?)" if close else ""


def listing(names: Iterable[str]) -> str:
    """Return names as a sorted, comma-separated list, or ``none``."""
    return ", ".join(sorted(names)) or "none"
