"""What this package registers: one line a component."""

from diffkit import Component, hookimpl


@hookimpl
def diffkit_schedules():
    yield Component("root", "diffkit_spirals.model:Root", "α² = 1 - t, σ² = t")


@hookimpl
def diffkit_networks():
    yield Component("dense", "diffkit_spirals.model:Dense", "fully connected")


@hookimpl
def diffkit_predictions():
    yield Component("clean", "diffkit_spirals.model:Clean", "the clean data, preconditioned")


@hookimpl
def diffkit_samplers():
    yield Component("midpoint", "diffkit_spirals.model:Midpoint", "two evaluations a step, second order")


@hookimpl
def diffkit_optimizers():
    yield Component("plain_adam", "diffkit_spirals.model:PlainAdam", "Adam at a constant rate")


@hookimpl
def diffkit_modalities():
    yield Component("points", "diffkit_spirals.points:Points", "points in the plane, as CSV")


@hookimpl
def diffkit_datasets():
    yield Component("spirals", "diffkit_spirals.points:Spirals", "a few points of one of two spirals")


@hookimpl
def diffkit_recipes():
    yield Component("spirals", "diffkit_spirals:recipes/spirals.yaml", "points on spirals, in seconds")


@hookimpl
def diffkit_commands():
    yield Component("turns", "diffkit_spirals.points:turns", "count the turns of sampled spirals")
