"""Where the primary config is."""

from pathlib import Path

import diffkit


def _folder() -> Path:
    """Return conf/: inside the package in a wheel, beside it in a checkout.

    The package's own file decides, not the import system: from a checkout's root ``diffkit`` may be the folder.
    """
    package = Path(diffkit.__file__).resolve().parent
    inside = package / "conf"
    return inside if inside.is_dir() else package.parent / "conf"


CONF = _folder()
