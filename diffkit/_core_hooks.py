"""What the core itself registers, by the same hooks as a plugin: its commands and its recipes."""

from collections.abc import Iterator
from pathlib import Path

from diffkit.hookspecs import Component, hookimpl
from diffkit.paths import CONF


@hookimpl
def diffkit_commands() -> Iterator[Component]:
    """Register the commands of the core."""
    yield Component("sample", "diffkit.cli.sample:sample", "draw samples from a run")
    yield Component("resume", "diffkit.cli.resume:resume", "go on training a run")
    yield Component("export", "diffkit.cli.export:export", "a run's model as a folder that needs no data")
    yield Component("plugins", "diffkit.cli.plugins:plugins", "list what is installed, or explain one component")
    yield Component("doctor", "diffkit.cli.doctor:doctor", "check this installation")
    yield Component("completion", "diffkit.cli.completion:completion", "print the completion script of a shell")


@hookimpl
def diffkit_recipes() -> Iterator[Component]:
    """Register the recipes in conf/recipe; the first comment line of each is its summary."""
    for path in sorted(Path(CONF, "recipe").glob("*.yaml")):
        with path.open(encoding="utf-8") as file:
            lines = [next(file, ""), next(file, "")]
        summary = next((line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line), "")
        yield Component(path.stem, f"diffkit.conf:recipe/{path.name}", summary)
