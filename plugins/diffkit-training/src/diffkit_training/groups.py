"""Which parameters decay, and which are matrices."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn


def decaying(net: nn.Module) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """Return the trainable parameters that decay, matrices and kernels, and the others: biases, gains and tables."""
    tables = {id(module.weight) for module in net.modules() if isinstance(module, nn.Embedding)}
    trainable = [p for p in net.parameters() if p.requires_grad]
    matrices = [p for p in trainable if p.ndim > 1 and id(p) not in tables]
    chosen = set(map(id, matrices))
    return matrices, [p for p in trainable if id(p) not in chosen]


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters as groups for a torch optimizer: one that decays, and one that does not."""
    pairs = zip(decaying(net), (weight_decay, 0.0), strict=True)
    return [{"params": found, "weight_decay": decay} for found, decay in pairs if found]


def can_fuse(net: nn.Module) -> bool:
    """Return whether torch has a fused step for the parameters, one kernel for all of them, wherever they are."""
    return all(p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) for p in net.parameters())


def divided(net: nn.Module) -> bool:
    """Return whether the parameters are in shards, one a rank."""
    return any(hasattr(p, "full_tensor") for p in net.parameters())


def with_gradients(parameters: Iterable[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Return the parameters that have a gradient, and their gradients."""
    found = [(p, p.grad) for p in parameters if p.grad is not None]
    return [p for p, _ in found], [gradient for _, gradient in found]
