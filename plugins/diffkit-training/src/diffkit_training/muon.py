"""Muon."""

from collections import defaultdict
from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DiffkitError
from diffkit_training.adam import AdamW
from diffkit_training.groups import can_fuse, decaying, divided, with_gradients
from diffkit_training.rate import check

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of a s + b s³ + c s⁵, which brings singular values in (0, 1] to about 1 in five rounds: from .68 to 1.13."""
ROUNDS = 5
MATCH = 0.2
"""The root mean square of a step over the rate: what AdamW's is in practice, so that one rate serves both."""


@dataclass
class Muon(AdamW):
    """Matrices and kernels move along their orthogonalised momentum, everything else by AdamW.

    Jordan et al., "Muon: An optimizer for hidden layers in neural networks" (2024). A kernel is the matrix of output
    channels by all else. Steps are scaled by 0.2 √max(rows, columns), to the size of AdamW's, and decay as its do:
    Liu et al., "Muon is Scalable for LLM Training" (2025). ``beta1``, ``beta2`` and ``eps`` are those of AdamW.

    Attributes:
        momentum: of matrices, in Nesterov's form.

    Raises:
        DiffkitError: where an option is out of range, or a network is divided among ranks: a part of a matrix does not
            tell its singular values.
    """

    lr: float = 5e-3
    momentum: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer over the trainable parameters of ``net``."""
        matrices, others = decaying(net)
        if divided(net):
            raise DiffkitError("muon needs whole matrices, but shards divide them; give parallel=ddp, or optim=adamw")
        groups: list[dict[str, Any]] = [
            {"params": matrices, "weight_decay": self.weight_decay, "momentum": self.momentum},
            {"params": others, "weight_decay": 0.0, "momentum": None},
        ]
        kept = [group for group in groups if group["params"]]
        return MuonOptimizer(kept, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=can_fuse(net))


class MuonOptimizer(torch.optim.AdamW):
    """AdamW, but for groups with a ``momentum``."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # A fused AdamW leaves a step out on the device where it is told to; matrices would move all the same.
        self.defaults["fused"] = self._step_supports_amp_scaling = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Take a state over; AdamW would look for its own in every group, to update that of an older torch."""
        torch.optim.Optimizer.__setstate__(self, state)

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step."""
        groups = self.param_groups
        for group in groups:
            if group["momentum"] is not None:
                self._step_matrices(group)
        self.param_groups = [group for group in groups if group["momentum"] is None]
        try:
            super().step()
        finally:
            self.param_groups = groups

    def _step_matrices(self, group: dict[str, Any]) -> None:
        parameters, gradients = with_gradients(group["params"])
        if not parameters:
            return
        momenta = [self._momentum(p) for p in parameters]
        torch._foreach_lerp_(momenta, gradients, 1 - group["momentum"])
        direction = torch._foreach_lerp(gradients, momenta, group["momentum"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        alike: dict[tuple[int, int], list[int]] = defaultdict(list)
        for index, one in enumerate(direction):
            alike[one.shape[0], one.numel() // one.shape[0]].append(index)
        for shape, indices in alike.items():
            orthogonal = orthogonalised(torch.stack([direction[i].reshape(shape) for i in indices]))
            scale = -group["lr"] * MATCH * sqrt(max(shape))
            moved = [parameters[i] for i in indices]
            steps = [one.view_as(p) for one, p in zip(orthogonal.to(moved[0].dtype), moved, strict=True)]
            torch._foreach_add_(moved, steps, alpha=scale)

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state["momentum"]


def orthogonalised(matrices: Tensor) -> Tensor:
    """Return matrices ``(n, rows, columns)`` with singular values of about 1, by Newton and Schulz's iteration.

    It runs in bfloat16 on a GPU, whose rounding it forgives.
    """
    wide = matrices.mT if matrices.shape[-2] > matrices.shape[-1] else matrices
    x = wide.bfloat16() if wide.is_cuda else wide
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if matrices.shape[-2] > matrices.shape[-1] else x
