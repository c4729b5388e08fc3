"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_commands() -> Iterable[Component]:
    """Register the commands."""
    yield Component("nll", "diffkit_inference.cli.nll:nll", "the likelihood of data under a run, in bits a value")
    yield Component("invert", "diffkit_inference.cli.invert:invert", "files to the noise they come from, and back")
    yield Component("edit", "diffkit_inference.cli.edit:edit", "files changed towards a label")
    yield Component("inpaint", "diffkit_inference.cli.inpaint:inpaint", "a hidden part of files filled in anew")
