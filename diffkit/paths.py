"""Where diffkit finds its configs, and where it keeps what can be made again."""

import os
from pathlib import Path

import diffkit


def _conf() -> Path:
    """Return conf/: inside the package in a wheel, beside it in a checkout.

    The package's own file decides, not the import system: from a checkout's root ``diffkit`` may be the folder.
    """
    package = Path(diffkit.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


CONF = _conf()


def cache_folder() -> Path:
    """Return the folder for what can be made again: ``DIFFKIT_CACHE``, or ``diffkit`` in the user's cache."""
    given = os.environ.get("DIFFKIT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(base, "diffkit")
