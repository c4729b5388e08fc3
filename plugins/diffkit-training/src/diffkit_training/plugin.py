"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_optimizers() -> Iterable[Component]:
    """Register the optimizers."""
    yield Component("adamw", "diffkit_training.adamw:AdamW", "Adam with decoupled weight decay and a falling rate")
    yield Component("sgd", "diffkit_training.sgd:SGD", "stochastic gradient descent with momentum")


@hookimpl
def diffkit_datasets() -> Iterable[Component]:
    """Register the data set that is made of others."""
    yield Component("mixture", "diffkit_training.mixture:Mixture", "several data sets, drawn by weights")


@hookimpl
def diffkit_trackers() -> Iterable[Component]:
    """Register the trackers."""
    yield Component("csv", "diffkit_training.csv:CSV", "metrics.csv, for spreadsheets")


@hookimpl
def diffkit_callbacks() -> Iterable[Component]:
    """Register the callbacks."""
    yield Component("patience", "diffkit_training.patience:Patience", "stop when the smoothed loss no longer falls")
