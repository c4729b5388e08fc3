"""A run as one HTML page that needs nothing besides itself: no script, no request, every word of the run's escaped."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from diffkit import DiffkitError, redacted
from diffkit_report.chart import Chart, Series, over_steps
from diffkit_report.facts import Facts, described, text
from diffkit_report.media import Medium, items, made, samplings, sheet
from diffkit_report.reproduce import commands
from diffkit_report.svg import svg

TITLES = {
    "loss": "Loss",
    "val_loss": "Validation loss",
    "lr": "Learning rate",
    "grad_norm": "Gradient norm",
    "steps_per_second": "Steps a second",
    "items_per_second": "Items a second",
    "tflops": "Teraflops a second",
    "utilisation": "Share of the machine's peak",
    "skipped": "Steps that were not taken",
}
"""The names of usual values, in the order of their charts; others come after them, by their own names."""
BY_LEVEL = re.compile(r"val_loss/([+-]?\d+(\.\d+)?(e[+-]?\d+)?)")
CURVES = 5
"""How many validations the chart by noise level shows."""
ITEMS = 12
"""How many samples are shown one by one."""
STAGES, STAGE_WIDTH = 6, 360
"""How many sheets show how the samples came to be, and their width in pixels."""
MOST_CHARTS = 24
PLAIN = "run"
"""The heading over the options that belong to no component."""


def page(run: Facts) -> str:
    """Return the page of a run."""
    try:
        lock = redacted(run.folder.read_json("plugins.lock"))
    except DiffkitError:
        lock = {}
    folders = samplings(run.folder.path)
    newest = folders[-1] if folders else None
    reproduce, remark = commands(run, lock)
    return _template().render(
        css=Markup(files(__package__).joinpath("page.css").read_text(encoding="utf-8")),
        name=run.folder.path.resolve().name,
        title=text(run.config.get("recipe", "run")),
        tiles=_tiles(run),
        subtitle=_subtitle(run),
        charts=[(chart, svg(chart), _legend(chart)) for chart in _charts(run)],
        sheet=sheet(newest) if newest else None,
        items=items(newest, ITEMS) if newest else [],
        sampled=_sampled(run, newest) if newest else "",
        stages=_stages(folders),
        made={command: sheet(folder) for command, folder in sorted(made(run.folder.path).items())},
        sections=_sections(run.config),
        environment=_environment(lock),
        parts=_parts(lock),
        numbers=_numbers(run),
        commands=[text(command) for command in reproduce],
        remark=text(remark),
        skipped=run.history.skipped,
    )


@cache
def _template() -> Any:
    source = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["said"] = text
    return environment.from_string(source)


def _subtitle(run: Facts) -> str:
    said = [
        f"{run.options[kind]} {word}" for kind, word in (("net", ""), ("schedule", "schedule")) if run.options.get(kind)
    ]
    if run.options.get("data"):
        said.append(f"trained on {run.options['data']}")
    return text(" · ".join(part.strip() for part in said))


def _tiles(run: Facts) -> list[tuple[str, str, str]]:
    """Return the figures at the top: a name, a figure, and what belongs to it."""
    results, steps = run.results, run.history.last_step
    tiles = []
    if "loss, last tenth" in results:
        tiles.append(("Loss", text(results["loss, last tenth"]), "mean of the last tenth"))
    if "val_loss, last" in results:
        tiles.append(("Validation loss", text(results["val_loss, last"]), f"best {text(results['val_loss, best'])}"))
    train = run.config.get("train")
    planned = train.get("steps") if isinstance(train, Mapping) else None
    whole = not isinstance(planned, int) or planned <= steps
    tiles.append(("Steps", text(steps), "" if whole else f"of {text(planned)}"))
    if "parameters" in results:
        tiles.append(("Parameters", _short(results["parameters"]), f"{results['parameters']:,.0f}"))
    if "seconds" in results:
        rate = results.get("steps_per_second")
        tiles.append(("Time", _time(results["seconds"]), f"{text(rate)} steps a second" if rate else ""))
    return tiles


def _charts(run: Facts) -> list[Chart]:
    values = run.history.values
    names = [*(name for name in TITLES if name in values), *(name for name in values if name not in TITLES)]
    charts = [
        over_steps(TITLES.get(name, text(name)), values[name])
        for name in names
        if not BY_LEVEL.fullmatch(name) and not (name == "skipped" and not any(y for _, y in values[name]))
    ]
    by_level = _by_level(run)
    return ([*charts[:2], by_level, *charts[2:]] if by_level else charts)[:MOST_CHARTS]


def _by_level(run: Facts) -> Chart | None:
    """Return validation losses over the noise level, a line for each of some validations, the last one among them."""
    logged = {float(found[1]): dict(p) for n, p in run.history.values.items() if (found := BY_LEVEL.fullmatch(n))}
    steps = sorted({step for points in logged.values() for step in points})
    if len(logged) < 2:
        return None
    chosen = [steps[i * (len(steps) - 1) // max(1, CURVES - 1)] for i in range(CURVES)]
    series = [
        Series(f"step {step:,.0f}", [(level, logged[level][step]) for level in sorted(logged) if step in logged[level]])
        for step in dict.fromkeys(chosen)
    ]
    return Chart("Validation loss by noise level", series, "λ, from noise to data")


def _legend(chart: Chart) -> list[str]:
    shown = [series.name for series in chart.series if not series.faint]
    return shown if len(shown) > 1 else []


def _stages(folders: list[Any]) -> list[Medium]:
    """Return small sheets drawn while the run trained, the first and the last among them."""
    drawn = sorted((folder for folder in folders if re.fullmatch(r"step-\d+", folder.name)), key=lambda path: path.name)
    if len(drawn) < 2:
        return []
    chosen = dict.fromkeys(drawn[i * (len(drawn) - 1) // (STAGES - 1)] for i in range(STAGES))
    found = [(folder, sheet(folder, STAGE_WIDTH)) for folder in chosen]
    return [Medium(f"step {int(folder.name[5:]):,}", "image", one.url) for folder, one in found if one]


def _sampled(run: Facts, newest: Path) -> str:
    """Return in words how the newest samples were drawn."""
    step = re.fullmatch(r"step-(\d+)", newest.name)
    said = [f"at step {int(step[1]):,}" if step else newest.name]
    drawn = described(newest / "sampling.json")
    chosen = [drawn.get(kind) for kind in ("sampler", "grid", "guidance")]
    said += [str(one["name"]) for one in chosen if isinstance(one, Mapping) and "name" in one]
    figures = run.results
    if "samples, evaluations_per_sample" in figures:
        said.append(f"{text(figures['samples, evaluations_per_sample'])} evaluations a sample")
    if "samples, seconds" in figures:
        said.append(f"{text(figures['samples, seconds'])} s")
    return text(" · ".join(said))


def _sections(config: Mapping[str, Any]) -> list[tuple[str, str, list[tuple[str, str]]]]:
    """Return the config as sections: a kind, the component's name, and the options."""
    plain = [(text(key), text(value)) for key, value in config.items() if not isinstance(value, Mapping)]
    sections = [(PLAIN, "", plain)]
    for kind, options in config.items():
        if isinstance(options, Mapping):
            rows = [(text(key), text(value)) for key, value in options.items() if key != "name"]
            sections.append((text(kind), text(options.get("name", "")), rows))
    return sections


def _environment(lock: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(text(key), text(value)) for key, value in lock.items() if isinstance(value, str | int | float)]


def _parts(lock: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    """Return the components of plugins.lock: kind, name, package with version, and how the source's hash begins."""
    components = lock.get("components")
    found = components.items() if isinstance(components, Mapping) else ()
    return [
        (
            text(kind),
            text(part.get("name")),
            text(f"{part.get('package')} {part.get('version')}"),
            text(part.get("sha256"))[:12],
        )
        for kind, part in found
        if isinstance(part, Mapping)
    ]


def _numbers(run: Facts) -> list[tuple[str, list[str]]]:
    """Return of each logged value its first, least, greatest and last."""
    rows = []
    for name, points in run.history.values.items():
        ys = [y for _, y in points]
        rows.append((text(name), [f"{y:.4g}" for y in (ys[0], min(ys), max(ys), ys[-1])]))
    return rows


def _short(value: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g} {letter}"
    return f"{value:.0f}"


def _time(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.3g} s"
