"""The words of a command line, before Hydra parses them.

``+schedule=cosine`` means ``schedule=cosine``, since every group is in the defaults list; a word for something that
does not exist is refused here, where Hydra would add a stray key without a sound.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import fields

from diffkit.config.settings import Settings
from diffkit.errors import DiffkitError, did_you_mean, listing
from diffkit.kinds import KINDS

GROUPS = frozenset(kind.name for kind in KINDS.values() if kind.group)
PLAIN = frozenset(field.name for field in fields(Settings))
FLAGS = frozenset(
    {
        "--run",
        "--multirun",
        "--cfg",
        "--resolve",
        "--package",
        "--info",
        "--shell-completion",
        "--hydra-help",
        "--config-name",
        "--config-dir",
        "--config-path",
        "--experimental-rerun",
        "--help",
        "--version",
        "--debug",
    }
)
_MODES = {"-r": "--run", "-m": "--multirun", "-c": "--cfg", "-i": "--info", "-sc": "--shell-completion"}
_WORD = re.compile(r"^(?P<sign>\+\+|\+|~)?(?P<key>[A-Za-z_][\w./-]*)(?P<at>@[\w.:-]*)?(?P<value>=.*)?$", re.DOTALL)
_SPOKEN = re.compile(r"^=(?=.*[^\x00-\x7f]|.*\S .*\S)[^'\"\[\]{}(),$\\=]*$")
"""Values with spaces or other letters, and nothing that has a meaning to Hydra."""


def normalise(words: Iterable[str], extra: Iterable[str] = ()) -> list[str]:
    """Return override words as Hydra wants them.

    Args:
        words: what the user typed, flags excluded.
        extra: keys besides the known ones, from a user's own config folder.

    Raises:
        DiffkitError: for a key that is not there, ``_target_``, or a group that no run can do without.
    """
    return [_normalise(word, GROUPS | PLAIN | {"hydra"} | set(extra)) for word in words]


def _normalise(word: str, known: frozenset[str]) -> str:
    if "_target_" in word:
        raise DiffkitError(
            f"'{word}' names code by its path; a config chooses among what is installed, such as net=unet "
            f"(see diffkit plugins list)"
        )
    match = _WORD.match(word)
    if match is None:
        return word
    sign, key, value = match["sign"] or "", match["key"], match["value"] or ""
    top = re.split(r"[./]", key, maxsplit=1)[0]
    if key == "hydra.run.dir":
        raise DiffkitError(f"'{word}' moves nothing, as a run names its folder by its time; say where: out=FOLDER")
    if value == "" and sign != "~" and key in known:
        raise DiffkitError(f"'{word}' has no value; give it one: {key}=VALUE (see diffkit --help)")
    if value == "" and sign != "~":
        raise DiffkitError(
            f"'{word}' is neither a command nor KEY=VALUE{did_you_mean(word, known)}; see diffkit --help"
        )
    if top not in known:
        raise DiffkitError(
            f"there is no '{top}' to set in '{word}'{did_you_mean(top, known)}; groups: {listing(GROUPS)}; "
            f"keys: {listing(PLAIN)}"
        )
    if sign == "~" and top in known - {"hydra"} and key not in GROUPS:
        raise DiffkitError(f"'{word}' takes away what has to have a value; set it instead: {key}=VALUE")
    if key not in GROUPS:
        spoken = _SPOKEN.match(value)  # which Hydra would have quoted, as a path or a label of any language
        return f"{sign}{key}{match['at'] or ''}='{value[1:]}'" if spoken else word
    empty = sign == "~" or value.strip("= ") in ("", "null", "None", "~")
    if empty and KINDS[key].required:
        raise DiffkitError(
            f"'{word}' leaves the run without a {key}; choose one: {key}=NAME (see diffkit plugins list)"
        )
    if value.startswith("=["):
        raise DiffkitError(f"'{word}' gives a list, but a {key} is one choice: {key}=NAME")
    swept = value[1:].split(",")
    if len(swept) > 1 and any(choice.strip() in ("", "null", "None") for choice in swept):
        raise DiffkitError(f"'{word}' sweeps over no {key} at all, which needs a run of its own: ~{key}")
    return f"~{key}" if empty else f"{key}{value}"


def split_flags(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return ``(overrides, flags)``: Hydra's flags and the values that follow them apart from the rest.

    Raises:
        DiffkitError: for a flag that there is not, and two each of which says what to do instead of a run.
    """
    takes_value = {"--config-path", "-cp", "--config-name", "-cn", "--config-dir", "-cd", "--package", "-p"}
    takes_value |= {"--cfg", "-c", "--experimental-rerun"}
    overrides: list[str] = []
    flags: list[str] = []
    rest = iter(words)
    for word in rest:
        if word.startswith("-"):
            flags.append(word)
            if word in takes_value:
                flags.extend([next(rest, "")])
        else:
            overrides.append(word)
    given = [flag.partition("=")[0] for flag in flags]
    for flag in given:
        if flag.startswith("--") and not any(known.startswith(flag) for known in FLAGS):
            raise DiffkitError(
                f"there is no flag '{flag}'{did_you_mean(flag, FLAGS)}; flags: {listing(FLAGS)}; a setting is "
                f"KEY=VALUE (see diffkit --help)"
            )
    modes = {_MODES.get(flag, flag) for flag in given} & set(_MODES.values())
    if len(modes) > 1:
        raise DiffkitError(
            f"{' and '.join(sorted(modes))} exclude each other; give one of them, such as --cfg job, which prints the "
            f"config of one run"
        )
    return overrides, flags
