"""Composition: words to a checked config, through Hydra, inside or outside of another Hydra application."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.resolvers import oc

from diffkit import catalog
from diffkit.config.explain import explained, unchosen
from diffkit.config.settings import check_settings
from diffkit.config.source import GROUPS, node, register, settings_node
from diffkit.config.words import PLAIN, normalise
from diffkit.errors import DiffkitError, listing
from diffkit.kinds import KINDS
from diffkit.paths import CONF


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Set another Hydra application's state aside for a while."""
    state = GlobalHydra.instance()
    outer, state.hydra = state.hydra, None
    try:
        yield
    finally:
        GlobalHydra.instance().hydra = outer  # Hydra's context managers put another instance in its place


def compose(*words: str) -> DictConfig:
    """Return the config that ``words`` mean, as on the command line: ``compose("recipe=digits", "+net=dit")``.

    Raises:
        DiffkitError: for a word that names nothing, or a value that does not fit.
    """
    register()
    with _own_hydra(), explained(), initialize_config_dir(str(CONF), version_base="1.3", job_name="diffkit"):
        whole = hydra_compose("config", overrides=normalise(words), return_hydra_config=True)
        return finish(whole, whole.hydra.runtime.choices, words)


def finish(config: DictConfig, choices: Mapping[str, Any], words: Sequence[str]) -> DictConfig:
    """Return a composed config without Hydra's part, with the recipe's name in it, resolved and checked.

    Of the environment it may read what ``words`` read: whoever wrote a recipe may not know what is there.
    """
    values = {key: value for key, value in config.items_ex(resolve=False) if key != "hydra"}
    if sum(entry.name == choices.get("recipe") for entry in catalog.entries("recipe")) > 1:
        catalog.find("recipe", str(choices["recipe"]))  # raises: it is contested, and Hydra takes the first it finds
    finished = OmegaConf.create({"recipe": choices.get("recipe") or "none", **values}, flags={"allow_objects": True})
    with explained(), _environment_of(words):
        OmegaConf.resolve(finished)
    check(finished)
    return finished


@contextmanager
def _environment_of(words: Sequence[str]) -> Iterator[None]:
    named = set(re.findall(r"oc\.env:\s*([^\s,}]+)", " ".join(words)))

    def read(key: str, *default: Any) -> Any:
        if key not in named:
            raise DiffkitError(
                f"a config reads the variable {key} of the environment; type it: KEY='${{oc.env:{key}}}'"
            )
        return oc.env(key, *default)

    OmegaConf.register_new_resolver("oc.env", read, replace=True)
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, use_cache=False, replace=True)


def check(config: DictConfig) -> None:
    """Raise :class:`DiffkitError` where a config is not one a run can be made of."""
    for path, value in _walk(config):
        if path.rpartition(".")[2] == "_target_":
            raise DiffkitError(f"'{path}' names code by its path; a config chooses among what is installed")
        if value == "???":
            group = path.partition(".")[0]
            raise DiffkitError(f"{group} '{config[group].name}' needs {path}; give it: {path}=VALUE")
    for kind in KINDS.values():
        chosen = config.get(kind.name) if kind.group and kind.name != "recipe" else None
        if chosen is None:
            if kind.required:
                raise DiffkitError(f"the run has no {kind.name}; choose one: {kind.name}=NAME")
            continue
        if not isinstance(chosen, DictConfig) or "name" not in chosen:
            raise DiffkitError(f"{kind.name} is {chosen!r} instead of a choice; give {kind.name}=NAME")
        known = [option.name for option in catalog.options(catalog.find(kind.name, chosen.name).load())]
        for option in chosen:
            if option != "name" and option not in known:
                raise DiffkitError(catalog.no_option(kind.name, chosen.name, str(option), known))
    check_settings(config)


def _walk(config: DictConfig, prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key in config:
        path = f"{prefix}{key!s}"
        value: Any = config._get_node(key)
        if isinstance(value, DictConfig) and not value._is_missing() and not value._is_none():
            yield path, None
            yield from _walk(value, f"{path}.")
        else:
            yield path, value._value()


def restore(values: Mapping[str, Any], path: str) -> DictConfig:
    """Return the config of a run, typed and checked, from what ``config.yaml`` holds; nothing in it is resolved.

    Raises:
        DiffkitError: where it interpolates, names something that is not installed, or does not fit.
    """
    plain = {key: value for key, value in values.items() if key in PLAIN}
    stray = set(values) - PLAIN - GROUPS
    if stray or not isinstance(values.get("train"), dict) or not isinstance(values.get("sample"), dict):
        raise DiffkitError(f"{path} is not the config of a run (its keys: {listing(map(str, values))})")
    _refuse_interpolation(values, path)
    with explained():
        config = OmegaConf.create({"recipe": str(values.get("recipe", "none"))})
        with open_dict(config):
            config.merge_with(OmegaConf.merge(settings_node(), plain))
            for kind in (kind for kind in KINDS if kind in GROUPS and kind != "recipe"):
                chosen = values.get(kind)
                if chosen is not None:
                    if not isinstance(chosen, dict) or not isinstance(chosen.get("name"), str):
                        raise DiffkitError(f"{path} holds no name for its {kind}")
                    typed = OmegaConf.create({kind: OmegaConf.structured(node(kind, chosen["name"]))})
                    merged = OmegaConf.merge(typed, {kind: chosen})  # within its kind, so that errors say where
                    config[kind] = OmegaConf.select(merged, kind)
        check(config)
    return config


def _refuse_interpolation(value: Any, path: str) -> None:
    if isinstance(value, str) and "${" in value:
        raise DiffkitError(f"{path} holds the interpolation '{value}', which a run's config may not; remove it")
    if isinstance(value, Mapping):
        for inner in value.values():
            _refuse_interpolation(inner, path)
    elif isinstance(value, list):
        for inner in value:
            _refuse_interpolation(inner, path)


def _choice(kind: str, name: Any) -> DictConfig | None:
    """Return the node of a component, or of a variant in conf/, by its name."""
    if name is None:
        return None
    if (CONF / kind / f"{name}.yaml").is_file():
        return compose(f"{kind}={name}")[kind]
    return OmegaConf.structured(node(kind, str(name)))


def change(config: DictConfig, words: Sequence[str], allowed: frozenset[str], command: str) -> DictConfig:
    """Return a run's config with ``words`` applied, of which a command allows only some keys.

    Raises:
        DiffkitError: for a key the command does not take, and whatever :func:`compose` refuses.
    """
    normal = normalise(words)
    with explained():
        overrides = OverridesParser.create().parse_overrides(normal)
    for override in overrides:
        key = override.key_or_group
        if key not in allowed and key.partition(".")[0] not in allowed:
            raise DiffkitError(f"diffkit {command} cannot change '{key}'; it takes {listing(allowed)}")
        if override.is_sweep_override():
            raise DiffkitError(f"'{override.input_line}' gives several values; diffkit {command} takes one")
    changed = config.copy()
    OmegaConf.set_struct(changed, False)
    for override in overrides:
        if override.key_or_group in GROUPS:
            changed[override.key_or_group] = _choice(override.key_or_group, override.value())
    with explained():
        for override in overrides:
            key = override.key_or_group
            if key not in GROUPS:
                kind = key.partition(".")[0]
                if kind in GROUPS and changed.get(kind) is None:
                    raise DiffkitError(unchosen(kind))
                OmegaConf.set_struct(changed, True)
                OmegaConf.update(changed, key, override.value(), merge=True, force_add=override.is_add())
                OmegaConf.set_struct(changed, False)
        OmegaConf.resolve(changed)
    check(changed)
    return changed
