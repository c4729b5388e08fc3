"""``diffkit compare RUN… [--png FILE] [--json]``: what differs between runs, in config and in result."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffkit import DiffkitError
from diffkit_report.chart import Chart, Series, over_steps
from diffkit_report.facts import Facts, text
from diffkit_report.png import draw
from diffkit_report.runs import find_runs

LEAST_IS_BEST = ("loss", "val_loss")


def compare(words: Sequence[str]) -> int:
    """Print a table of what differs, and draw the curves."""
    named, png, as_json = _read(words)
    runs = find_runs(named)
    if len(runs) < 2:
        one = f"; to look at one: diffkit report {named[0]}" if named else ""
        raise DiffkitError(
            f"diffkit compare needs two or more runs, not {len(runs)}: their folders, last, or a sweep's folder{one}"
        )
    differing, results = _differing(runs), _results(runs)
    if png is not None:
        draw(_charts(runs), [text(run.name) for run in runs], png)
    if as_json:
        said = [_as_json(run, differing) for run in runs]
        print(json.dumps({"differ": differing, "runs": said}, indent=1, default=str))
        return 0
    _print(runs, differing, results)
    for run in runs:
        if run.history.skipped:
            print(f"note     {text(run.name)}: {run.history.skipped} lines of metrics.jsonl are unreadable")
    if png is not None:
        print(f"curves   {png}")
    return 0


def _read(words: Sequence[str]) -> tuple[list[str], Path | None, bool]:
    named, png, as_json = [], None, False
    rest = iter(words)
    for word in rest:
        if word == "--json":
            as_json = True
        elif word.partition("=")[0] == "--png":
            file = word.partition("=")[2] or next(rest, "")
            if not file:
                raise DiffkitError("--png needs a file to draw to: --png curves.png")
            png = Path(file)
        elif word.startswith("-"):
            raise DiffkitError(f"diffkit compare does not know '{word}'; it takes runs, --png FILE and --json")
        else:
            named.append(word)
    return named, png, as_json


def _differing(runs: list[Facts]) -> list[str]:
    """Return the options that are not the same in all runs, in the order of the configs."""
    every = dict.fromkeys(key for run in runs for key in run.options)
    return [key for key in every if any(run.options.get(key) != runs[0].options.get(key) for run in runs)]


def _results(runs: list[Facts]) -> list[str]:
    """Return the names of results, those of most interest first."""
    first = [name for run in runs for name in run.results if name.startswith(LEAST_IS_BEST)]
    others = [name for run in runs for name in run.results]
    return list(dict.fromkeys([*first, "steps", "seconds", "parameters", *others]))


def _charts(runs: list[Facts]) -> list[Chart]:
    """Return a chart for each logged value, with a line for each run, smoothed where it would hide the others."""
    names = dict.fromkeys(["loss", "val_loss", *(name for run in runs for name in run.history.values)])
    charts = []
    for name in names:
        logged = [(run, run.history.values[name]) for run in runs if name in run.history.values]
        if logged and not name.startswith("val_loss/"):
            lines = [Series(text(run.name), over_steps(name, points).series[-1].points) for run, points in logged]
            charts.append(Chart(text(name), lines))
    return charts


def _as_json(run: Facts, differing: list[str]) -> dict[str, Any]:
    config = {key: run.options.get(key) for key in differing}
    path = str(run.folder.path)
    return {"run": path, "config": config, "results": run.results, "unreadable_lines": run.history.skipped}


def _print(runs: list[Facts], differing: list[str], results: list[str]) -> None:
    """Print a row for each run, or a column where that is narrower; the best loss is marked."""
    results = [name for name in results if any(name in run.results for run in runs)]
    rows = [["run", *map(text, differing), *map(text, results)]]
    for run in runs:
        options = [text(run.options[key]) if key in run.options else "" for key in differing]
        rows.append([text(run.name), *options, *(_marked(run, name, runs) for name in results)])
    if len(rows[0]) > len(rows):
        rows = [list(column) for column in zip(*rows, strict=True)]
    if sys.stdout.isatty():
        _print_rich(rows)
        return
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _marked(run: Facts, name: str, runs: list[Facts]) -> str:
    if name not in run.results:
        return ""
    best = min(other.results[name] for other in runs if name in other.results)
    mark = " *" if name.startswith(LEAST_IS_BEST) and run.results[name] == best else ""
    return text(run.results[name]) + mark


def _print_rich(rows: list[list[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in rows[0]:
        table.add_column(Text(name), overflow="fold")
    for row in rows[1:]:
        table.add_row(*(Text(cell, "bold green" if cell.endswith(" *") else "") for cell in row))
    Console(highlight=False).print(table)
