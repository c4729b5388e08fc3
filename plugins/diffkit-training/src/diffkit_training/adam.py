"""Adam and AdamW."""

from dataclasses import dataclass

import torch
from torch import nn

from diffkit_training.groups import can_fuse, parameter_groups
from diffkit_training.rate import Rate, check


@dataclass
class Adam(Rate):
    """Kingma & Ba, "Adam: A Method for Stochastic Optimization" (2015); torch's fused step, on the CPU too.

    Attributes:
        beta1: the decay of the mean of gradients.
        beta2: the decay of the mean of their squares.
        eps: added to the root of the latter.
    """

    lr: float = 2e-3
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_betas(self.beta1, self.beta2)
        check(self.eps > 0, "eps", self.eps, "a number above 0")

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters of ``net``."""
        trainable = [p for p in net.parameters() if p.requires_grad]
        return torch.optim.Adam(
            trainable, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=can_fuse(net)
        )


@dataclass
class AdamW(Adam):
    """Adam with decoupled weight decay: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019).

    Attributes:
        weight_decay: of matrices and convolution kernels.
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        check_decay(self.weight_decay)

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=(self.beta1, self.beta2), eps=self.eps, fused=can_fuse(net))


def check_betas(beta1: float, beta2: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` where one is no decay of a mean."""
    for name, beta in (("beta1", beta1), ("beta2", beta2)):
        check(0 <= beta < 1, name, beta, "0 to below 1")


def check_decay(weight_decay: float) -> None:
    """Raise :class:`~diffkit.DiffkitError` where it is no weight decay."""
    check(weight_decay >= 0, "weight_decay", weight_decay, "0 or more")
