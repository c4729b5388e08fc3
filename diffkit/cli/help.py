"""``diffkit --help``, from the catalog: nothing is composed and torch is not imported."""

from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from diffkit import catalog
from diffkit.config.settings import Sample, Settings, Train
from diffkit.kinds import KINDS
from diffkit.paths import CONF

DEFAULT = "digits"
"""The recipe where none is chosen, see conf/config.yaml."""

EXAMPLES = (
    ("diffkit", "the default recipe: train on real digits, write samples"),
    ("diffkit +schedule=cosine +net=unet", "compose by name"),
    ("diffkit recipe=images data.path=FOLDER", "train on your own files"),
    ("diffkit -m schedule=linear,cosine net=mlp,unet", "a sweep, one run each"),
    ("diffkit sample last sampler=heun sampler.steps=18 sample.label=3", "draw more from the last run"),
    ("diffkit resume last train.steps=4000", "train it further"),
    ("diffkit plugins info cosine", "the options of one component"),
    ("diffkit --cfg job", "show the config without running (Hydra's flags all work)"),
)


def print_help() -> None:
    """Print what can be typed: examples, commands, groups with their choices, and plain keys."""
    console = Console(highlight=False)
    console.print("[bold]diffkit[/bold] trains and samples diffusion models for images, audio and video.\n")
    console.print("usage: diffkit \\[GROUP=NAME] \\[GROUP.OPTION=VALUE] \\[KEY=VALUE] …\n       diffkit COMMAND …\n")
    console.print("[bold]examples[/bold]")
    for command, meaning in EXAMPLES:
        console.print(f"  {command}\n      [dim]{meaning}[/dim]", soft_wrap=True)
    console.print()
    commands = [(entry.name, entry.component.summary) for entry in catalog.entries("command")]
    _print("commands", commands, console)
    groups = [(kind.name, ", ".join(catalog.names(kind.name)) or "-") for kind in KINDS.values() if kind.group]
    _print("groups", groups, console)
    keys = {name: value for name, value in vars(Settings()).items() if name not in ("train", "sample")}
    for prefix, part in (("train", Train()), ("sample", Sample())):
        keys |= {f"{prefix}.{name}": value for name, value in vars(part).items()}
    set_by_recipe = _of_recipe(DEFAULT)
    for name, value in keys.items():
        taken = set_by_recipe.get(name, value)
        elsewhere = f" (recipe={DEFAULT}, else {_shown(value)})" if name in set_by_recipe else ""
        keys[name] = f"default {_shown(taken)}{elsewhere}"
    _print("keys", list(keys.items()), console)
    console.print("options of a component: diffkit plugins info NAME; traceback of an error: --debug")


def _of_recipe(name: str) -> dict[str, Any]:
    """Return the plain keys that a recipe sets."""
    recipe = yaml.safe_load((CONF / "recipe" / f"{name}.yaml").read_text(encoding="utf-8"))
    return {f"{part}.{key}": value for part in ("train", "sample") for key, value in recipe.get(part, {}).items()}


def _shown(value: Any) -> str:
    return "null" if value is None else str(value)


def _print(title: str, rows: list[tuple[str, str]], console: Console) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    for name, text in rows:
        table.add_row(name, text)
    console.print(f"[bold]{title}[/bold]")
    console.print(table)
    console.print()
