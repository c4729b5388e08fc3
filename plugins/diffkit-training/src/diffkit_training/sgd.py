"""Stochastic gradient descent."""

from dataclasses import dataclass

import torch
from torch import nn

from diffkit_training.adam import check_decay
from diffkit_training.groups import can_fuse, divided, parameter_groups
from diffkit_training.rate import Rate, check


@dataclass
class SGD(Rate):
    """Stochastic gradient descent with Nesterov's momentum.

    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).

    Attributes:
        momentum: the share of the last step that is taken again; 0 is plain gradient descent.
        weight_decay: of matrices and convolution kernels.
    """

    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        check(0 <= self.momentum < 1, "momentum", self.momentum, "0 to below 1")
        check_decay(self.weight_decay)

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        fused = can_fuse(net) and not divided(net)  # torch has a fused step over shards for Adam alone
        made = torch.optim.SGD(groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0, fused=fused)
        if fused and self.momentum:  # torch takes memory for it in the first step, and where that is left out, as it is
            for parameter in (p for group in made.param_groups for p in group["params"]):
                made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        return made
