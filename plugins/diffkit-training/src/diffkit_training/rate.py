"""What the optimizers share: the learning rate by step, and which parameters decay."""

from math import cos, isfinite, pi
from typing import Any, Literal

import torch
from torch import nn

from diffkit import DiffkitError

Decay = Literal["cosine", "linear", "constant"]


class Rate:
    """A learning rate that rises linearly for ``warmup`` steps to ``lr``, and then decays.

    Args:
        lr: the learning rate at its peak.
        warmup: the steps it takes to get there; the first is already taken at ``lr / warmup``.
        decay: from the peak to 0 at the last step by half a cosine or along a line, or not at all.

    Raises:
        DiffkitError: where an option is out of range.
    """

    def __init__(self, lr: float, warmup: int, decay: Decay) -> None:
        check(lr > 0 and isfinite(lr), "lr", lr, "a number above 0")
        check(warmup >= 0, "warmup", warmup, "0 or more steps")
        check(decay in ("cosine", "linear", "constant"), "decay", decay, "cosine, linear or constant")
        self.lr, self.warmup, self.decay = lr, warmup, decay

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step ``step`` (from 0) of ``steps``."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        if self.decay == "constant":
            return self.lr
        done = min((step - self.warmup) / max(1, steps - self.warmup), 1.0)
        return self.lr * ((1 + cos(pi * done)) / 2 if self.decay == "cosine" else 1 - done)


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Return the trainable parameters in two groups: matrices and kernels decay; biases, gains and tables do not."""
    tables = {id(module.weight) for module in net.modules() if isinstance(module, nn.Embedding)}
    groups: dict[float, list[nn.Parameter]] = {weight_decay: [], 0.0: []}
    for parameter in net.parameters():
        if parameter.requires_grad:
            decays = parameter.ndim > 1 and id(parameter) not in tables
            groups[weight_decay if decays else 0.0].append(parameter)
    return [{"params": found, "weight_decay": decay} for decay, found in groups.items() if found]


def can_fuse(net: nn.Module) -> bool:
    """Return whether torch has a fused step for the parameters, one kernel for all of them, wherever they are."""
    return all(p.device.type in ("cpu", "cuda") and torch.is_floating_point(p) for p in net.parameters())


def check(fits: bool, name: str, value: object, allowed: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` that says what option ``name`` may be, unless it ``fits``."""
    if not fits:
        raise DiffkitError(f"{name}={value} is out of range; give {allowed}")
