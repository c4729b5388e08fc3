"""plugins.lock: which packages a run was made with, so that what is missing or has changed can be said."""

import platform
from typing import Any

import torch

import diffkit
from diffkit import catalog
from diffkit.errors import DiffkitError, plain
from diffkit.kinds import KINDS
from diffkit.plugins import installed


def locked(config: Any) -> dict[str, Any]:
    """Return the lock of a config: every plugin's version, and the source hash of each chosen component."""
    components = {}
    for kind in KINDS.values():
        chosen = config.get(kind.name) if kind.group and kind.name != "recipe" else None
        if chosen is not None:
            entry = catalog.find(kind.name, chosen["name"])
            components[kind.name] = {
                "name": chosen["name"],
                "package": entry.package,
                "version": entry.version,
                "sha256": entry.source_hash(),
            }
    return {
        "diffkit": diffkit.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "plugins": {plugin.package: plugin.version for plugin in installed().loaded if plugin.package != "diffkit"},
        "components": components,
    }


def require(lock: dict[str, Any], run: str) -> None:
    """Raise :class:`DiffkitError` where a component of a run is no longer installed, with the package to install."""
    components = lock.get("components")
    if not isinstance(components, dict) or not all(map(_whole, components.values())):
        raise DiffkitError(f"{run}/plugins.lock does not say what the run was made with; the run is damaged")
    for kind, entry in components.items():
        if kind not in KINDS:
            continue
        name, package = entry["name"].rpartition(".")[2], entry["package"]
        try:
            catalog.find(kind, f"{package}.{name}")
        except DiffkitError as error:
            raise DiffkitError(
                f"{run} needs {kind} '{name}' of {package}, which is not installed; "
                f"pip install {package}=={entry['version']}"
            ) from error


def _whole(entry: Any) -> bool:
    return isinstance(entry, dict) and all(
        isinstance(entry.get(field), str) for field in ("name", "package", "version", "sha256")
    )


def settle(values: dict[str, Any], lock: dict[str, Any]) -> None:
    """Give a name in a run's config that has become contested since the package it had when the run was made."""
    for kind, entry in lock["components"].items():
        name, chosen = entry["name"], values.get(kind)
        contested = "." not in name and kind in KINDS and name not in catalog.names(kind)
        if contested and isinstance(chosen, dict) and chosen.get("name") == name:
            chosen["name"] = f"{entry['package']}.{name}"


def changes(lock: dict[str, Any], config: Any) -> list[str]:
    """Return a sentence for each component of a run, and each package below them, that is not what it was made with."""
    now = locked(config)
    said = [
        f"{kind} '{then['name']}' has changed since the run began ({_how(then, now['components'][kind])})"
        for kind, then in lock.get("components", {}).items()
        if kind in now["components"] and _differ(then, now["components"][kind])
    ]
    said += [
        f"the run began with {name} {lock[name]}, and this is {now[name]}; what it computes may differ"
        for name in ("diffkit", "torch")
        if name in lock and lock[name] != now[name]
    ]
    return list(map(plain, said))


def _how(then: dict[str, str], now: dict[str, str]) -> str:
    package = f"{then['package']} {then['version']}"
    return f"{package}, now {now['version']}" if then["version"] != now["version"] else f"its source, still {package}"


def _differ(then: dict[str, str], now: dict[str, str]) -> bool:
    return then["name"] == now["name"] and any(then[field] != now[field] for field in ("version", "sha256"))
