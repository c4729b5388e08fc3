"""Lion."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffkit_training.adam import check_betas, check_decay
from diffkit_training.groups import parameter_groups, with_gradients
from diffkit_training.rate import Rate


@dataclass
class Lion(Rate):
    """Steps of the sign of a momentum: Chen et al., "Symbolic Discovery of Optimization Algorithms" (2023).

    Every value moves by the rate, so its rate is 2 to 10 times below AdamW's, and the weight decay as much above. It
    keeps half of AdamW's state.

    Attributes:
        beta1: the share of the momentum in what the sign is taken of.
        beta2: the decay of the momentum.
        weight_decay: of matrices and convolution kernels.
    """

    lr: float = 1e-3
    beta1: float = 0.9
    beta2: float = 0.99
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self.beta1, self.beta2)
        check_decay(self.weight_decay)

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        return LionOptimizer(groups, {"lr": self.lr, "beta1": self.beta1, "beta2": self.beta2})


class LionOptimizer(torch.optim.Optimizer):
    """:class:`Lion` as torch's own optimizers are."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step: θ ← (1 - lr·decay) θ - lr sign(β₁ m + (1 - β₁) g), then m ← β₂ m + (1 - β₂) g."""
        for group in self.param_groups:
            parameters, gradients = with_gradients(group["params"])
            if not parameters:
                continue
            momenta = [self._momentum(p) for p in parameters]
            direction = torch._foreach_lerp(momenta, gradients, 1 - group["beta1"])
            torch._foreach_sign_(direction)
            torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
            torch._foreach_add_(parameters, direction, alpha=-group["lr"])
            torch._foreach_lerp_(momenta, gradients, 1 - group["beta2"])

    def _momentum(self, parameter: Tensor) -> Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
        return state["momentum"]
