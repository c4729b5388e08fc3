"""Schedule-free AdamW."""

from dataclasses import dataclass
from math import sqrt
from typing import Any

import torch
from torch import Tensor, nn

from diffkit_training.adam import check_betas, check_decay
from diffkit_training.groups import parameter_groups, with_gradients
from diffkit_training.rate import Decay, Rate, check


@dataclass
class ScheduleFree(Rate):
    """AdamW that averages in place of a decaying rate: Defazio et al., "The Road Less Scheduled" (2024), algorithm 1.

    Steps are taken at z, x is the mean of all z weighed by the square of the rate, and gradients come from
    y = (1 - β₁) z + β₁ x. The network holds y. To sample from x would take a second set of weights beside the run's
    average, and its own way in and out; but the average of y is as good. It is β₁ x, which by then hardly moves, plus
    1 - β₁ times an average of z, of whose noise, all that makes y worse than x, a decay d leaves (1 - d)/(1 + d). So
    keep ``train.ema`` above 0, and short of the length of the run.

    Attributes:
        beta1: the share of x in y.
        beta2: the decay of the mean of squared gradients.
        eps: added to its root.
        weight_decay: of matrices and convolution kernels, at y.
    """

    lr: float = 5e-3
    decay: Decay = "constant"
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self.beta1, self.beta2)
        check(self.eps > 0, "eps", self.eps, "a number above 0")
        check_decay(self.weight_decay)

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return an optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        given = {"lr": self.lr, "beta1": self.beta1, "beta2": self.beta2, "eps": self.eps}
        return ScheduleFreeOptimizer(groups, given)


class ScheduleFreeOptimizer(torch.optim.Optimizer):
    """:class:`ScheduleFree` as torch's own optimizers are."""

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Take a step."""
        for group in self.param_groups:
            parameters, gradients = with_gradients(group)
            if parameters:
                self._step(group, parameters, gradients)

    def _step(self, group: dict[str, Any], y: list[Tensor], gradients: list[Tensor]) -> None:
        rate, beta1, beta2 = group["lr"], group["beta1"], group["beta2"]
        rates, shares = [], []
        for parameter in y:
            state = self.state[parameter]
            if not state:
                state.update(steps=0, weight=0.0, z=parameter.clone(), squares=torch.zeros_like(parameter))
            state["steps"] += 1
            rates.append(rate * sqrt(1 - beta2 ** state["steps"]))
            state["weight"] += rates[-1] ** 2
            shares.append(rates[-1] ** 2 / state["weight"] if state["weight"] else 0.0)
        z, squares = [self.state[p]["z"] for p in y], [self.state[p]["squares"] for p in y]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        steps = torch._foreach_div(gradients, roots)
        if group["weight_decay"]:
            torch._foreach_add_(steps, y, alpha=group["weight_decay"])
        torch._foreach_mul_(steps, rates)
        # With z ← z - step and x ← (1 - c) x + c z, and x eliminated: y ← (1 - c) y + c z - (1 - β₁ (1 - c)) step.
        torch._foreach_mul_(y, [1 - c for c in shares])
        torch._foreach_add_(y, torch._foreach_mul(z, shares))
        torch._foreach_sub_(z, steps)
        torch._foreach_mul_(steps, [1 - beta1 * (1 - c) for c in shares])
        torch._foreach_sub_(y, steps)
