"""AdamW."""

import torch
from torch import nn

from diffkit_training.rate import Decay, Rate, can_fuse, check, parameter_groups


class AdamW(Rate):
    """Adam with decoupled weight decay: Loshchilov & Hutter, "Decoupled Weight Decay Regularization" (2019).

    Args:
        lr: the learning rate at its peak.
        beta1: the decay of the mean of gradients.
        beta2: the decay of the mean of their squares.
        eps: added to the root of the latter.
        weight_decay: of matrices and convolution kernels.
        warmup: the steps until the peak.
        decay: how the rate falls from there to 0 at the last step, or that it does not.

    Raises:
        DiffkitError: where an option is out of range.
    """

    def __init__(
        self,
        lr: float = 2e-3,
        beta1: float = 0.9,
        beta2: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.01,
        warmup: int = 50,
        decay: Decay = "cosine",
    ) -> None:
        super().__init__(lr, warmup, decay)
        for name, beta in (("beta1", beta1), ("beta2", beta2)):
            check(0 <= beta < 1, name, beta, "0 to below 1")
        check(eps > 0, "eps", eps, "a number above 0")
        check(weight_decay >= 0, "weight_decay", weight_decay, "0 or more")
        self.betas, self.eps, self.weight_decay = (beta1, beta2), eps, weight_decay

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return torch's optimizer over the trainable parameters of ``net``."""
        groups = parameter_groups(net, self.weight_decay)
        return torch.optim.AdamW(groups, lr=self.lr, betas=self.betas, eps=self.eps, fused=can_fuse(net))
