"""Names chosen by patterns, as a shell chooses files."""

from collections.abc import Collection, Iterable
from fnmatch import fnmatchcase

from diffkit import DiffkitError
from diffkit.errors import listing


def matching(option: str, patterns: Iterable[str], names: Collection[str]) -> list[str]:
    """Return those of ``names`` that one of ``patterns`` matches, where ``*`` is anything, dots included.

    Raises:
        DiffkitError: for a pattern that matches none; it names ``option``, of which the patterns are the value.
    """
    found: set[str] = set()
    for pattern in patterns:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched:
            heads = {head + (".*" if rest else "") for head, _, rest in (name.partition(".") for name in names)}
            raise DiffkitError(f"{option}=[{pattern}] matches nothing in this network; it has {listing(heads)}")
        found |= matched
    return [name for name in names if name in found]
