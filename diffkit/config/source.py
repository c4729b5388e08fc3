"""The config source ``diffkit://``: every registered component as a typed config node ``kind/name``.

The node is a dataclass made from the constructor's signature, so Hydra itself refuses a wrong type or an option the
component does not have; only the class that is picked is imported.
"""

import dataclasses
import types
import typing
from pathlib import Path
from typing import Any

from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.object_type import ObjectType
from hydra.plugins.config_source import ConfigLoadError, ConfigResult, ConfigSource
from omegaconf import MISSING, DictConfig, OmegaConf

from diffkit import catalog
from diffkit.config.settings import Settings
from diffkit.kinds import KINDS

SCHEME = "diffkit"
GROUPS = frozenset(kind.name for kind in KINDS.values() if kind.group)


def node(kind: str, name: str) -> Any:
    """Return component ``name`` as a dataclass: a field ``name``, then its options with types and defaults."""
    entry = catalog.find(kind, name)
    fields: list[tuple[str, Any, Any]] = [("name", str, dataclasses.field(default=name))]
    for option in catalog.options(entry.load()):
        fields.append((option.name, _config_type(option.annotation), _default(option.default)))
    return dataclasses.make_dataclass(f"{kind}_{entry.name}", fields)


def settings_node() -> DictConfig:
    """Return the plain settings, each key typed, as a node that takes further keys."""
    typed = OmegaConf.structured(Settings)
    return OmegaConf.create({key: typed._get_node(key) for key in typed})


def _default(value: Any) -> Any:
    if value is catalog.REQUIRED:
        return dataclasses.field(default=MISSING)
    if isinstance(value, tuple | list):
        return dataclasses.field(default_factory=lambda: list(value))
    return dataclasses.field(default=value)


def _config_type(annotation: Any) -> Any:
    """Return the nearest type that OmegaConf can check; the constructor checks the rest."""
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (bool, int, float, str):
        return annotation
    if origin is typing.Literal and len({type(a) for a in arguments}) == 1:
        return type(arguments[0])
    if origin in (list, tuple) or str(origin).endswith("Sequence'>"):
        inner = _config_type(arguments[0]) if arguments else Any
        return list[inner]  # type: ignore[valid-type]
    if origin in (typing.Union, types.UnionType):
        checked = [_config_type(a) for a in arguments if a is not type(None)]
        if len(checked) == 1:
            return typing.Optional[checked[0]] if type(None) in arguments else checked[0]  # noqa: UP045
    return Any


class DiffkitSource(ConfigSource):
    """Serves components, plugins' recipes and the plain settings to Hydra."""

    @staticmethod
    def scheme() -> str:
        """Return the scheme of this source."""
        return SCHEME

    def available(self) -> bool:
        """Return that it is there, always."""
        return True

    def load_config(self, config_path: str) -> ConfigResult:
        """Return the node at ``kind/name``; raise :class:`~diffkit.DiffkitError` where two plugins contest it."""
        kind, _, name = _plain(config_path).partition("/")
        header: dict[str, str | None] = {"package": None}
        config: Any
        if kind == "settings" and not name:
            config = settings_node()
        elif kind == "recipe":
            package, _, file = catalog.find(kind, name).component.target.partition(":")
            path = _package_folder(package) / file
            config, header = OmegaConf.load(path), _header(path)
        elif kind in GROUPS:
            config = OmegaConf.structured(node(kind, name))
        else:
            raise ConfigLoadError(f"Config not found: {config_path}")
        return ConfigResult(provider=self.provider, path=f"{SCHEME}://", config=config, header=header)

    def is_group(self, config_path: str) -> bool:
        """Return whether the path is a kind of component."""
        return config_path == "" or config_path.rstrip("/") in GROUPS

    def is_config(self, config_path: str) -> bool:
        """Return whether the path is a component that some plugin registers."""
        kind, _, name = _plain(config_path).partition("/")
        if not name:
            return kind == "settings"
        return kind in GROUPS and any(
            name in (entry.name, f"{entry.package}.{entry.name}") for entry in catalog.entries(kind)
        )

    def list(self, config_path: str, results_filter: ObjectType | None) -> typing.List[str]:  # noqa: UP006
        """List kinds, or the names of one kind."""
        group = config_path.rstrip("/")
        if group == "":
            return sorted(GROUPS) if results_filter in (None, ObjectType.GROUP) else []
        return catalog.names(group) if group in GROUPS and results_filter in (None, ObjectType.CONFIG) else []


def _plain(config_path: str) -> str:
    return config_path.removesuffix(".yaml").strip("/")


def _header(path: Path) -> dict[str, str | None]:
    with path.open(encoding="utf-8") as file:
        return dict(ConfigSource._get_header_dict(file.read(512)))


def _package_folder(package: str) -> Path:
    import importlib.util

    from diffkit.paths import CONF

    if package == "diffkit.conf":
        return CONF
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigLoadError(f"package {package} is not there")
    return Path(spec.submodule_search_locations[0])


def register() -> None:
    """Make the scheme known to Hydra in this process; other Hydra applications never meet it."""
    SourcesRegistry.instance().register(DiffkitSource)
