"""Optimizers for diffkit, mixtures of data sets, a tracker that writes a table, and a rule that ends a training."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_training.adam import Adam, AdamW
    from diffkit_training.csv import CSV
    from diffkit_training.lion import Lion
    from diffkit_training.mixture import Mixture
    from diffkit_training.muon import Muon
    from diffkit_training.patience import Patience
    from diffkit_training.schedule_free import ScheduleFree
    from diffkit_training.sgd import SGD

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Adam": "diffkit_training.adam",
        "AdamW": "diffkit_training.adam",
        "CSV": "diffkit_training.csv",
        "Lion": "diffkit_training.lion",
        "Mixture": "diffkit_training.mixture",
        "Muon": "diffkit_training.muon",
        "Patience": "diffkit_training.patience",
        "SGD": "diffkit_training.sgd",
        "ScheduleFree": "diffkit_training.schedule_free",
    },
)
__all__ = ["Adam", "AdamW", "CSV", "Lion", "Mixture", "Muon", "Patience", "SGD", "ScheduleFree"]
