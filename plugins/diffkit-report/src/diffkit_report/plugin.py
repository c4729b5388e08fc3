"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_commands() -> Iterable[Component]:
    """Register the commands."""
    yield Component("compare", "diffkit_report.compare:compare", "what differs between runs, and what came of it")
    yield Component("report", "diffkit_report.report:report", "one page about a run: curves, samples, config")
