"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_adaptations() -> Iterable[Component]:
    """Register the ways of fine-tuning."""
    yield Component("weights", "diffkit_finetune.weights:Weights", "start from a run's weights; train all or a part")
    yield Component("lora", "diffkit_finetune.low_rank:LoRA", "train a matrix of low rank added to each layer's")
    yield Component("dora", "diffkit_finetune.low_rank:DoRA", "lora, with the length of each row trained apart")
