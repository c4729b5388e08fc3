"""``diffkit plugins [list [--json] | info NAME [recipe=NAME …]]``: what is installed."""

import inspect
import json
import sys
from collections.abc import Sequence
from typing import Any

from diffkit import catalog
from diffkit.errors import DiffkitError, did_you_mean
from diffkit.kinds import KINDS
from diffkit.plugins import installed

WIDE = 200
"""Columns of a list that no terminal shows: every component on a line of its own, for grep."""


def plugins(words: Sequence[str]) -> int:
    """List what is installed, or explain one component."""
    match list(words):
        case [] | ["list"]:
            _list()
        case ["list", "--json"] | ["--json"]:
            print(json.dumps(_as_json(), indent=1))
        case ["info", name, *rest]:
            _info(name, rest)
        case _:
            raise DiffkitError(
                f"diffkit plugins does not know '{' '.join(words)}'; type diffkit plugins list [--json], "
                f"or diffkit plugins info NAME [recipe=NAME]"
            )
    return 0


def _as_json() -> dict[str, Any]:
    found = installed()
    return {
        "plugins": [{"package": p.package, "version": p.version, "entry_point": p.name} for p in found.loaded],
        "components": [
            {
                "kind": entry.kind,
                "name": entry.name,
                "package": entry.package,
                "target": entry.component.target,
                "summary": entry.component.summary,
                "contested": sum(other.name == entry.name for other in catalog.entries(kind)) > 1,
            }
            for kind in KINDS
            for entry in catalog.entries(kind)
        ],
        "set_aside": found.quarantined,
    }


def _list() -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("kind", "name", "package", "what it is"):
        table.add_column(column, no_wrap=column != "what it is")
    for kind in KINDS:
        contested = {entry.name for entry in catalog.entries(kind)} - set(catalog.names(kind))
        for entry in catalog.entries(kind):
            name = f"{entry.package}.{entry.name}" if entry.name in contested else entry.name
            table.add_row(kind, name, entry.package, Text(entry.component.summary))
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDE).print(table)


def _info(name: str, words: Sequence[str]) -> None:
    plain = name.rpartition(".")[2]
    found = [entry for kind in KINDS for entry in catalog.entries(kind) if entry.name == plain]
    if plain != name:
        found = [entry for entry in found if entry.package == name.rpartition(".")[0]]
    if not found:
        every = [entry.name for kind in KINDS for entry in catalog.entries(kind)]
        raise DiffkitError(f"nothing called '{name}' is installed{did_you_mean(name, every)}; see diffkit plugins list")
    for entry in found:
        print(f"{entry.kind}={entry.name}    {entry.component.summary}")
        print(f"from {entry.package} {entry.version}, {entry.component.target}")
        if entry.component.target.endswith((".yaml", ".yml")):
            continue
        component = entry.load()
        print(f"\n{inspect.getdoc(component) or ''}\n")
        if KINDS[entry.kind].group:
            for option in catalog.options(component):
                default = "required" if option.default is catalog.REQUIRED else f"= {option.default!r}"
                print(f"  {entry.kind}.{option.name}: {_type(option.annotation)} {default}")
            if not catalog.options(component):
                print("  no options")
        if entry.kind == "net":
            _size(name, words)
        print()


def _size(name: str, words: Sequence[str]) -> None:
    """Print how large a network is and what it computes, for the default recipe's data or that of ``words``."""
    import torch

    from diffkit.config.compose import compose
    from diffkit.flops import flops, parameters

    config = compose(*words, f"net={name}")
    spec = catalog.build("data", config.data).spec
    if config.get("encoder") is not None:
        spec = catalog.build("encoder", config.encoder, spec=spec).latent
    shape = " x ".join(map(str, (spec.channels, *spec.shape)))
    try:
        with torch.device("meta"):
            net = catalog.build("net", config.net, spec=spec)
        size, cost = f"{parameters(net) / 1e6:.3g} M parameters", f"{flops(net, spec) / 1e9:.3g} GFLOP"
    except DiffkitError:
        raise
    except Exception as error:  # a network may be for other data, or for no device without values
        raise DiffkitError(f"net '{name}' cannot be measured on items of {shape} ({_first_line(error)})") from error
    print(f"\n  {size} and {cost} a forward pass of one item of {shape}, as data={config.data.name} has")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]


def _type(annotation: Any) -> str:
    return annotation.__name__ if inspect.isclass(annotation) else str(annotation).replace("typing.", "")
