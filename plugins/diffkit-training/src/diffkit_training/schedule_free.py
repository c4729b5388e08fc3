"""Schedule-free AdamW."""

from collections import defaultdict
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
            alike: dict[tuple[int, float], list[Tensor]] = defaultdict(list)
            for parameter in with_gradients(group["params"])[0]:
                state = self.state[parameter]
                if not state:
                    state.update(steps=0, weight=0.0, z=parameter.clone(), squares=torch.zeros_like(parameter))
                alike[state["steps"], state["weight"]].append(parameter)
            for (steps, weight), parameters in alike.items():
                self._step(group, parameters, steps + 1, weight)

    def _step(self, group: dict[str, Any], y: list[Tensor], steps: int, weight: float) -> None:
        """Step parameters that have come equally far: one number for all is much faster than one for each."""
        beta1, beta2 = group["beta1"], group["beta2"]
        states, (_, gradients) = [self.state[p] for p in y], with_gradients(y)
        z, squares = [state["z"] for state in states], [state["squares"] for state in states]
        torch._foreach_mul_(squares, beta2)
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(squares)
        torch._foreach_add_(roots, group["eps"])
        direction = torch._foreach_div(gradients, roots)
        if group["weight_decay"]:
            torch._foreach_add_(direction, y, alpha=group["weight_decay"])
        rate = group["lr"] * sqrt(1 - beta2**steps)
        weight += rate**2
        share = rate**2 / weight if weight else 0.0
        # z ← z - rate d and x ← (1 - c) x + c z, where c is the share; y follows without x.
        torch._foreach_lerp_(y, z, share)
        torch._foreach_add_(y, direction, alpha=-rate * (1 - beta1 * (1 - share)))
        torch._foreach_add_(z, direction, alpha=-rate)
        for state in states:
            state["steps"], state["weight"] = steps, weight
