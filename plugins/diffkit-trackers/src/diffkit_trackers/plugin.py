"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_trackers() -> Iterable[Component]:
    """Register the trackers."""
    yield Component("tensorboard", "diffkit_trackers.tensorboard:TensorBoard", "curves, sheets, config as event files")
    yield Component("wandb", "diffkit_trackers.wandb:WandB", "Weights & Biases, offline too")
    yield Component("mlflow", "diffkit_trackers.mlflow:MLflow", "MLflow, in a database or on a server")
    yield Component("several", "diffkit_trackers.several:Several", "several trackers at once, by their names")
