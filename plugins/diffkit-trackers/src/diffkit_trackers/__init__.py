"""Trackers for diffkit: TensorBoard, Weights & Biases, MLflow, and several at once."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_trackers.mlflow import MLflow
    from diffkit_trackers.several import Several
    from diffkit_trackers.tensorboard import TensorBoard
    from diffkit_trackers.wandb import WandB

__getattr__, __dir__ = lazily(
    __name__,
    {
        "MLflow": "diffkit_trackers.mlflow",
        "Several": "diffkit_trackers.several",
        "TensorBoard": "diffkit_trackers.tensorboard",
        "WandB": "diffkit_trackers.wandb",
    },
)
__all__ = ["MLflow", "Several", "TensorBoard", "WandB"]
