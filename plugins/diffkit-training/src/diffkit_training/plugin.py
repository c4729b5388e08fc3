"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_optimizers() -> Iterable[Component]:
    """Register the optimizers."""
    yield Component("adam", "diffkit_training.adam:Adam", "Adam, without weight decay")
    yield Component("adamw", "diffkit_training.adam:AdamW", "Adam with decoupled weight decay")
    yield Component("lion", "diffkit_training.lion:Lion", "the sign of a momentum; half the state of Adam")
    yield Component("muon", "diffkit_training.muon:Muon", "orthogonalised momentum for matrices, AdamW for the rest")
    yield Component("schedule_free", "diffkit_training.schedule_free:ScheduleFree", "AdamW that needs no last step")
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


@hookimpl
def diffkit_commands() -> Iterable[Component]:
    """Register the commands."""
    yield Component("ema", "diffkit_training.command:ema", "an average of a run's weights of another length")
