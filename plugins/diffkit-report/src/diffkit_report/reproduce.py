"""The commands that make a run again."""

import re
import shlex
from collections.abc import Mapping
from typing import Any

import diffkit
from diffkit_report.facts import Facts

PLAIN = re.compile(r"[A-Za-z_./][\w./:+#-]*")
NOT_PLAIN = ("true", "false", "null", "nan", "inf", "yes", "no", "on", "off", "last")
GIVEN = ("out", "modality")
"""What need not be said: where a run goes, and what the data set decides."""


def commands(run: Facts, lock: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return what to type to make a run again, and a remark where that could not be tried out here."""
    config = run.folder.read_config()
    if "${" in str(config) or diffkit.redacted(config) != config:
        return [], "The config holds a secret or an interpolation, so no command is given."
    words, remark = _shortest(config)
    return [_install(lock), shlex.join(["diffkit", *words])], remark


def _install(lock: Mapping[str, Any]) -> str:
    parts = lock.get("components")
    used = [part for part in parts.values() if isinstance(part, dict)] if isinstance(parts, dict) else []
    versions = {str(part.get("package")): str(part.get("version")) for part in used}
    for name in ("torch", "diffkit"):
        if isinstance(lock.get(name), str):
            versions = {name: lock[name].partition("+")[0], **versions}
    return shlex.join(["pip", "install", *(f"{name}=={version}" for name, version in versions.items())])


def _shortest(config: Mapping[str, Any]) -> tuple[list[str], str]:
    """Return the words that differ from what the recipe says, once they are known to compose to the very config."""
    wanted = _said(config)
    words = [f"recipe={config.get('recipe')}"]
    try:
        for names in (True, False):  # components first, since the defaults of their options follow from them
            now = _said(_composed(words))
            changed = [
                key for key in {**now, **wanted} if now.get(key) != wanted.get(key) or (key in now) != (key in wanted)
            ]
            words += [f"{key}={_hydra(wanted.get(key))}" for key in changed if ("." not in key) is names]
        if _said(_composed(words)) == wanted:
            return words, ""
        reason = "they compose to something else here"
    except Exception as error:  # a stranger's config, and whatever a plugin does with it
        reason = " ".join(str(error).split())[:200]
    every = [f"{key}={_hydra(value)}" for key, value in wanted.items()]
    return every, f"These words could not be tried out ({reason})."


def _composed(words: list[str]) -> dict[str, Any]:
    from omegaconf import OmegaConf

    plain: Any = OmegaConf.to_container(diffkit.compose(*words))
    return plain


def _said(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config on one level, as words have it: a kind is its component's name, if it has one."""
    said: dict[str, Any] = {}
    for key, value in config.items():
        if isinstance(value, Mapping):
            if "name" in value:
                said[key] = value["name"]
            said.update({f"{key}.{name}": inner for name, inner in value.items() if name != "name"})
        elif value is not None and key not in GIVEN:
            said[str(key)] = value
    return {key: value for key, value in said.items() if key.partition(".")[0] not in GIVEN}


def _hydra(value: Any) -> str:
    """Return a value as Hydra's grammar has it."""
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, list):
        return f"[{','.join(map(_hydra, value))}]"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key}:{_hydra(inner)}' for key, inner in value.items())}}}"
    if isinstance(value, str) and not (PLAIN.fullmatch(value) and value.lower() not in NOT_PLAIN):
        return "'" + value.replace("'", "\\'") + "'"
    return str(value)
