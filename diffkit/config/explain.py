"""Hydra's and OmegaConf's errors, said in the user's words."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hydra.errors import HydraException, MissingConfigException, OverrideParseException
from omegaconf import errors as omega

from diffkit import catalog
from diffkit.config.source import GROUPS
from diffkit.errors import DiffkitError, did_you_mean, listing


@contextmanager
def explained() -> Iterator[None]:
    """Turn an error of composition into a :class:`DiffkitError` of one sentence."""
    try:
        yield
    except (HydraException, omega.OmegaConfBaseException) as error:
        raise DiffkitError(explain(error)) from error


def explain(error: BaseException) -> str:
    """Return the sentence for an error of Hydra or OmegaConf."""
    if isinstance(error, MissingConfigException) and error.missing_cfg_file:
        kind, _, name = str(error.missing_cfg_file).partition("/")
        if kind in GROUPS:
            return _missing(kind, name, error.options or [])
        return (
            f"config '{error.missing_cfg_file}' is not there; see diffkit --info searchpath for where it is looked for"
        )
    if isinstance(error, OverrideParseException):
        return f"'{error.override}' is not KEY=VALUE; quote special characters twice, as in 'data.path=\"a, b\"'"
    cause = error if isinstance(error, omega.OmegaConfBaseException) else error.__cause__
    if isinstance(cause, omega.OmegaConfBaseException) and cause.full_key:
        unknown = isinstance(cause, omega.ConfigKeyError | omega.ConfigAttributeError)
        return _bad_key(cause) if unknown else _bad_value(cause)
    ambiguous = re.match(r"Ambiguous value for argument '(.*?)'", str(error))
    if ambiguous:
        return f"'{ambiguous[1]}' gives several values; sweep over them with -m, or quote what is one value"
    return " ".join(str(error).split())


def _missing(kind: str, name: str, options: Sequence[str]) -> str:
    sentence = catalog.missing(kind, name)
    variants = sorted(set(options) - set(catalog.names(kind)))
    return f"{sentence}; variants: {listing(variants)}" if variants else sentence


def unchosen(kind: str) -> str:
    """Return the sentence for an option of a kind of which none is chosen."""
    return f"no {kind} is chosen whose options could be set; choose one too: {kind}=NAME"


def _bad_value(error: omega.OmegaConfBaseException) -> str:
    wanted = re.search(r"could not be converted to (\w+)", str(error))
    words = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
    said = words.get(wanted[1], wanted[1]) if wanted else None
    value = re.search(r"Value '(.*?)' of type", str(error), re.DOTALL)
    if said and value:
        return f"{error.full_key}={value[1]} does not fit: {error.full_key} is {said}"
    if "is not Optional" in str(error):
        return f"{error.full_key} has to have a value; give it one: {error.full_key}=VALUE"
    if "is not a subclass of" in str(error):
        return f"{error.full_key} is a group of keys; set one of them: {error.full_key}.KEY=VALUE"
    return f"{error.full_key} does not fit: {str(error).splitlines()[0]}"


def _bad_key(error: omega.OmegaConfBaseException) -> str:
    path = str(error.full_key)
    parent = error.parent_node
    known = [str(key) for key in parent] if parent is not None and hasattr(parent, "keys") else []
    kind, _, option = path.partition(".")
    last = path.rpartition(".")[2]
    if kind in GROUPS and "." in option:
        whole = path.rpartition(".")[0]
        return f"'{path}' cannot be set by itself; give {whole} as a whole: '{whole}={{name: NAME, OPTION: VALUE}}'"
    if kind in GROUPS and "name" in known and parent is not None:
        return catalog.no_option(kind, parent["name"], option, [key for key in known if key != "name"])
    if kind in GROUPS:
        return unchosen(kind)
    return f"there is no '{path}'{did_you_mean(last, known)}; there is: {listing(known)}"
