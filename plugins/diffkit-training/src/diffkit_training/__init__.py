"""Optimizers for diffkit, a tracker that writes a table, and a rule that ends a training when it no longer gains."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_training.adamw import AdamW
    from diffkit_training.csv import CSV
    from diffkit_training.patience import Patience
    from diffkit_training.sgd import SGD

__getattr__, __dir__ = lazily(
    __name__,
    {
        "AdamW": "diffkit_training.adamw",
        "CSV": "diffkit_training.csv",
        "Patience": "diffkit_training.patience",
        "SGD": "diffkit_training.sgd",
    },
)
__all__ = ["AdamW", "CSV", "Patience", "SGD"]
