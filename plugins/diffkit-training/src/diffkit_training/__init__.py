"""Optimizers for diffkit, mixtures of data sets, a tracker that writes a table, and a rule that ends a training."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_training.adamw import AdamW
    from diffkit_training.csv import CSV
    from diffkit_training.mixture import Mixture
    from diffkit_training.patience import Patience
    from diffkit_training.sgd import SGD

__getattr__, __dir__ = lazily(
    __name__,
    {
        "AdamW": "diffkit_training.adamw",
        "CSV": "diffkit_training.csv",
        "Mixture": "diffkit_training.mixture",
        "Patience": "diffkit_training.patience",
        "SGD": "diffkit_training.sgd",
    },
)
__all__ = ["AdamW", "CSV", "Mixture", "Patience", "SGD"]
