"""Fine-tuning for diffkit: from a run's weights to other data, in full, in part, or by LoRA and DoRA."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_finetune.low_rank import DoRA, LoRA
    from diffkit_finetune.weights import Weights

__getattr__, __dir__ = lazily(
    __name__,
    {
        "DoRA": "diffkit_finetune.low_rank",
        "LoRA": "diffkit_finetune.low_rank",
        "Weights": "diffkit_finetune.weights",
    },
)
__all__ = ["DoRA", "LoRA", "Weights"]
