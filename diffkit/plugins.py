"""Loading of plugins: each on its own, so that a broken one is named and set aside and the rest go on."""

import inspect
import os
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from traceback import walk_tb
from types import ModuleType

import pluggy

from diffkit import hookspecs
from diffkit.errors import did_you_mean, plain
from diffkit.hookspecs import PROJECT, Component
from diffkit.kinds import KINDS, Kind

DISABLE = "DIFFKIT_DISABLE_PLUGINS"


@dataclass(frozen=True)
class Plugin:
    """A plugin that loaded, and what it registers by kind."""

    name: str
    package: str
    version: str
    components: dict[str, tuple[Component, ...]]


@dataclass
class Plugins:
    """What is installed: the plugins that loaded, and those set aside with the reason."""

    loaded: list[Plugin] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)


def load_plugins(points: Iterable[EntryPoint] | None = None, disabled: Iterable[str] | None = None) -> Plugins:
    """Load the core's own hooks and every entry point of the group ``diffkit``.

    Args:
        points: entry points in place of the installed ones.
        disabled: distributions to leave out, in place of the environment's ``DIFFKIT_DISABLE_PLUGINS=a,b``.
    """
    from diffkit import _core_hooks

    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    found = Plugins()
    found.loaded.append(_register(manager, _core_hooks, "diffkit", "diffkit", _version("diffkit")))
    left_out = set(disabled if disabled is not None else os.environ.get(DISABLE, "").split(","))
    for point in sorted(points if points is not None else entry_points(group=PROJECT), key=_package):
        package = _package(point)
        if left_out & {package, package.replace("-", "_"), point.name}:
            continue
        try:
            module = point.load()
            found.loaded.append(_register(manager, module, point.name, package, _point_version(point)))
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, PluginError) else str(error)
            found.quarantined[package] = plain(reason)
    return found


class PluginError(Exception):
    """A plugin that breaks the contract; its text says how."""


def _register(manager: pluggy.PluginManager, module: ModuleType, name: str, package: str, version: str) -> Plugin:
    hooks = {kind.hook for kind in KINDS.values()}
    for attribute, value in vars(module).items():
        marked = hasattr(value, f"{PROJECT}_impl")
        if marked and attribute not in hooks:
            raise PluginError(f"it implements a hook '{attribute}' that does not exist{did_you_mean(attribute, hooks)}")
        if attribute in hooks and inspect.isfunction(value) and not marked:
            raise PluginError(f"its '{attribute}' is not marked; put @diffkit.hookimpl above it")
    plugin_name = f"{package}:{name}"
    manager.register(module, name=plugin_name)
    try:
        components = {kind.name: _call(manager, kind, plugin_name) for kind in KINDS.values()}
    except BaseException:
        manager.unregister(name=plugin_name)
        raise
    return Plugin(name, package, version, {kind: found for kind, found in components.items() if found})


def _call(manager: pluggy.PluginManager, kind: Kind, plugin_name: str) -> tuple[Component, ...]:
    """Call one hook of one plugin, so that what goes wrong is laid at its own door."""
    components: dict[str, Component] = {}
    for implementation in getattr(manager.hook, kind.hook).get_hookimpls():
        if implementation.plugin_name == plugin_name:
            yielded = implementation.function()
            if not isinstance(yielded, Iterable):
                raise PluginError(f"its '{kind.hook}' returns {yielded!r}; yield diffkit.Component records")
            for component in yielded:
                _check(component, kind)
                if component.name in components:
                    raise PluginError(f"it registers {kind.name} '{component.name}' twice")
                components[component.name] = replace(component, summary=plain(component.summary))
    return tuple(components.values())


def _check(component: object, kind: Kind) -> None:
    if not isinstance(component, Component):
        raise PluginError(f"its '{kind.hook}' yields {component!r}, which is not a diffkit.Component")
    what = f"it registers {kind.name} '{component.name}'"
    if not re.fullmatch(r"\w+", str(component.name)):
        raise PluginError(f"{what}, whose name is not letters, digits and underscores")
    if not re.fullmatch(r"[\w.]+:[^:]+", str(component.target)):
        raise PluginError(f"{what}, whose target '{component.target}' is not of the form package.module:Class")


def _package(point: EntryPoint) -> str:
    return plain(point.dist.name if point.dist is not None else point.module.partition(".")[0])


def _point_version(point: EntryPoint) -> str:
    return plain(point.dist.version) if point.dist is not None else ""


def _version(package: str) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def behind(error: BaseException) -> Plugin | None:
    """Return the plugin, other than the core, in whose code an error arose, or which called what raised it."""
    owners = {
        component.target.partition(":")[0].partition(".")[0]: plugin
        for plugin in installed().loaded
        for components in plugin.components.values()
        for component in components
    }
    frames = [frame for frame, _ in walk_tb(error.__traceback__)]
    packages = [str(frame.f_globals.get("__name__")).partition(".")[0] for frame in frames]
    found = [package for package in packages if package in owners]
    return owners[found[-1]] if found and found[-1] != PROJECT else None


@cache
def installed() -> Plugins:
    """Return the plugins of this environment, loaded once a process; say on stderr which ones were set aside."""
    found = load_plugins()
    for package, reason in found.quarantined.items():
        warnings.warn(f"plugin '{package}' is set aside: {reason}", stacklevel=2)
    return found
