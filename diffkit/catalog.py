"""The catalog: names to components, a component's options, and how one is built.

Looking a name up imports nothing; only building does. A component's options are its constructor's keyword
parameters, read from the signature and never written twice.
"""

import hashlib
import inspect
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any

from diffkit.errors import DiffkitError, did_you_mean, listing
from diffkit.hookspecs import Component
from diffkit.kinds import KINDS
from diffkit.plugins import installed

if TYPE_CHECKING:
    from diffkit.contracts.network import DataSpec

REQUIRED = inspect.Parameter.empty
KEYWORD = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
SUPPLIED = "spec"
"""The one constructor parameter that is no option: the core fills it in."""


@dataclass(frozen=True)
class Entry:
    """A component and the distribution it comes from."""

    kind: str
    component: Component
    package: str
    version: str

    @property
    def name(self) -> str:
        """The name a user types."""
        return self.component.name

    def load(self) -> Any:
        """Import and return the class (or function) itself."""
        module, _, attribute = self.component.target.partition(":")
        try:
            return getattr(import_module(module), attribute)
        except (ImportError, AttributeError) as error:
            raise DiffkitError(
                f"{self.kind} '{self.name}' of {self.package} cannot be imported from {self.component.target} "
                f"({error}); reinstall it: pip install --force-reinstall {self.package}"
            ) from error

    def source_hash(self) -> str:
        """Return the SHA-256 of the source file that defines the component, or an empty string where there is none."""
        try:
            path = inspect.getsourcefile(inspect.unwrap(self.load()))
        except TypeError:
            return ""
        if path is None:
            return ""
        with open(path, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()


@dataclass(frozen=True)
class Option:
    """One keyword parameter of a component: its name, annotation and default (``REQUIRED`` where there is none)."""

    name: str
    annotation: Any
    default: Any


@cache
def _entries(kind: str) -> dict[str, tuple[Entry, ...]]:
    found: dict[str, tuple[Entry, ...]] = {}
    for plugin in installed().loaded:
        for component in plugin.components.get(kind, ()):
            entry = Entry(kind, component, plugin.package, plugin.version)
            found[component.name] = (*found.get(component.name, ()), entry)
    return found


def names(kind: str) -> list[str]:
    """Return the names of a kind that can be chosen, sorted; a name that two plugins contest appears qualified."""
    return sorted(
        name if len(entries) == 1 else f"{entry.package}.{name}"
        for name, entries in _entries(kind).items()
        for entry in entries
    )


def entries(kind: str) -> list[Entry]:
    """Return every component of a kind, contested ones included, by name."""
    return [entry for _, found in sorted(_entries(kind).items()) for entry in found]


def find(kind: str, name: str) -> Entry:
    """Return the component ``name`` (or ``package.name``) of a kind.

    Raises:
        DiffkitError: where none is installed by that name, or two plugins contest it.
    """
    if kind not in KINDS:
        raise DiffkitError(f"there is no kind '{kind}'{did_you_mean(kind, KINDS)}; kinds: {listing(KINDS)}")
    package, _, plain = name.rpartition(".")
    found = _entries(kind).get(plain, ())
    if package:
        found = tuple(entry for entry in found if entry.package.replace("-", "_") == package.replace("-", "_"))
    if len(found) > 1:
        word = f"{kind}=" if KINDS[kind].group else "diffkit "
        choices = " or ".join(f"{word}{entry.package}.{plain}" for entry in found)
        raise DiffkitError(
            f"{kind} '{name}' is registered by {' and by '.join(entry.package for entry in found)}; "
            f"say which one: {choices}"
        )
    if not found:
        raise DiffkitError(missing(kind, name))
    return found[0]


def missing(kind: str, name: str) -> str:
    """Return the sentence that says that ``name`` is not installed, what is, and how to get more."""
    known = names(kind)
    aside = installed().quarantined
    broken = f"; set aside because it is broken: {listing(aside)} (see diffkit doctor)" if aside else ""
    return (
        f"{kind} '{name}' is not installed{did_you_mean(name, known)}; installed: {listing(known)}{broken}; "
        f"more: pip install {KINDS[kind].home}, or the package that brings '{name}'"
    )


def options(component: Any) -> list[Option]:
    """Return the options of a class: its constructor's keyword parameters, but not ``spec``.

    Raises:
        DiffkitError: where one is called ``name``, by which a config says which component it is.
    """
    constructor = component.__init__ if inspect.isclass(component) else component
    parameters = inspect.signature(component).parameters.values()
    if any(p.name == "name" and p.kind in KEYWORD for p in parameters):
        raise DiffkitError(
            f"{getattr(component, '__qualname__', component)} takes an option 'name', the word by which a config says "
            f"which component it is; call the parameter something else"
        )
    try:
        hints = typing.get_type_hints(constructor)
    except NameError:
        hints = {}
    return [
        Option(p.name, hints.get(p.name, p.annotation), p.default)
        for p in parameters
        if p.name != SUPPLIED and p.kind in KEYWORD
    ]


def build(kind: str, choice: str | Mapping[str, Any], spec: "DataSpec | None" = None, **changes: Any) -> Any:
    """Return the component that ``choice`` names, constructed.

    >>> build("schedule", "cosine")                     # doctest: +SKIP
    >>> build("net", {"name": "unet", "width": 64}, spec=spec)      # doctest: +SKIP

    Args:
        kind: the kind, such as ``"schedule"``.
        choice: a name, or a mapping of ``name`` and options, as a config holds it.
        spec: what the model sees of the data, for components that ask for it.
        changes: options besides.

    Raises:
        DiffkitError: for a name that is not installed, an option it does not have, or a value it refuses.
    """
    given: dict[str, Any] = {"name": choice} if isinstance(choice, str) else dict(choice)
    given.update(changes)
    name = given.pop("name", None)
    if not isinstance(name, str):
        raise DiffkitError(f"{kind} has no name; choose one: {kind}=NAME with NAME one of {listing(names(kind))}")
    component = find(kind, name).load()
    known = {option.name: option for option in options(component)}
    for option in given:
        if option not in known:
            raise DiffkitError(no_option(kind, name, option, known))
    lacking = [option.name for option in known.values() if option.default is REQUIRED and option.name not in given]
    if lacking:
        raise DiffkitError(f"{kind} '{name}' needs {kind}.{lacking[0]}; give it: {kind}.{lacking[0]}=VALUE")
    if SUPPLIED in inspect.signature(component).parameters:
        given[SUPPLIED] = spec
    try:
        return component(**given)
    except DiffkitError as error:
        if str(error).startswith(f"{kind} '{name}'"):
            raise
        raise DiffkitError(f"{kind} '{name}': {error}") from error
    except (ValueError, TypeError) as error:
        raise DiffkitError(f"{kind} '{name}' refuses its options: {error}") from error


def no_option(kind: str, name: str, option: str, known: typing.Iterable[str]) -> str:
    """Return the sentence that says that a component has no such option, and which it has."""
    return (
        f"{kind} '{name}' has no option '{option}'{did_you_mean(option, known)}; "
        f"its options: {listing(known)} (see diffkit plugins info {name})"
    )
