"""``diffkit --help``, from the catalog: nothing is composed and torch is not imported."""

from typing import Any

import yaml
from rich.console import Console
from rich.table import Table

from diffkit import catalog
from diffkit.config.settings import Sample, Settings, Train
from diffkit.kinds import KINDS
from diffkit.paths import CONF

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
    recipe, changed = _default_recipe()
    shown = {
        name: f"default {_shown(changed[name])} (recipe={recipe}, else {_shown(value)})"
        if name in changed
        else f"default {_shown(value)}"
        for name, value in keys.items()
    }
    _print("keys", list(shown.items()), console)
    console.print("options of a component: diffkit plugins info NAME; traceback of an error: --debug")


def _default_recipe() -> tuple[str, dict[str, Any]]:
    """Return the recipe where none is chosen, and the plain keys that it sets."""
    chosen = yaml.safe_load((CONF / "config.yaml").read_text(encoding="utf-8"))["defaults"]
    name = next(one["recipe"] for one in chosen if isinstance(one, dict) and "recipe" in one)
    recipe = yaml.safe_load((CONF / "recipe" / f"{name}.yaml").read_text(encoding="utf-8"))
    parts = ("train", "sample")
    return name, {f"{part}.{key}": value for part in parts for key, value in recipe.get(part, {}).items()}


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
