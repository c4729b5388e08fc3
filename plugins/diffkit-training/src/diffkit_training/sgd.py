"""Stochastic gradient descent."""

import torch
from torch import nn

from diffkit_training.rate import Decay, Rate, can_fuse, check, parameter_groups


class SGD(Rate):
    """Stochastic gradient descent with Nesterov's momentum.

    Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013).

    Args:
        lr: the learning rate at its peak.
        momentum: the share of the last step that is taken again; 0 is plain gradient descent.
        weight_decay: of matrices and convolution kernels.
        warmup: the steps until the peak.
        decay: how the rate falls from there to 0 at the last step, or that it does not.

    Raises:
        DiffkitError: where an option is out of range.
    """

    def __init__(
        self,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        warmup: int = 50,
        decay: Decay = "cosine",
    ) -> None:
        super().__init__(lr, warmup, decay)
        check(0 <= momentum < 1, "momentum", momentum, "0 to below 1")
        check(weight_decay >= 0, "weight_decay", weight_decay, "0 or more")
        self.momentum, self.weight_decay = momentum, weight_decay

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        return torch.optim.SGD(
            groups, lr=self.lr, momentum=self.momentum, nesterov=self.momentum > 0, fused=can_fuse(net)
        )
