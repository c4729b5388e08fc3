"""Packages that only one tracker needs, so that nobody else has to install them."""

from importlib import import_module
from typing import Any

from diffkit import DiffkitError


def needed(module: str) -> Any:
    """Import and return a module of the package that a tracker is for; its extra has the package's name.

    Raises:
        DiffkitError: where it is not installed, with what to type.
    """
    package = module.partition(".")[0]
    try:
        import_module(package)
        return import_module(module)
    except ImportError as error:
        raise DiffkitError(
            f"the package {package} is not installed ({error}); pip install 'diffkit-trackers[{package}]'"
        ) from error
