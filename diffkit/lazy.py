"""Names of a package that import their module only when somebody uses them (PEP 562)."""

import sys
from collections.abc import Callable, Mapping
from importlib import import_module


def lazily(package: str, names: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose ``names`` live in the modules given.

    A plugin uses it to offer its classes without importing torch when only its hooks are wanted:

    >>> __getattr__, __dir__ = lazily("collections", {"ABCMeta": "abc"})
    >>> __getattr__("ABCMeta").__name__
    'ABCMeta'
    """

    def getattr_(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(names[name]), name)
        if package in sys.modules:
            setattr(sys.modules[package], name, value)
        return value

    def dir_() -> list[str]:
        return sorted({*names, *vars(sys.modules[package])})

    return getattr_, dir_
