"""Replacement by a mask."""

from math import expm1

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffkit import Level
from diffkit_discrete.draws import columns, share
from diffkit_discrete.levels import check_classes, keep_and_rest


class AbsorbingProcess:
    """π is all on one more state, the mask: what is lost shows, and what shows is right.

    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), appendix A.2.2; in
    continuous time Sahoo et al., "Simple and Effective Masked Diffusion Language Models" (2024). The reversed process
    leaves the mask for y, for a unit of λ, at the rate 2 a p_y, so that the divergence is -2a log p(x_0) for masked
    tokens, and 0 for others. What a network says of tokens that show is not used.

    Args:
        classes: the number K of values of a token; the mask is token K.
    """

    def __init__(self, classes: int) -> None:
        self.classes = self.mask = check_classes(classes)
        self.states = classes + 1

    def start(self, noise: Tensor) -> Tensor:
        """Return masks alone."""
        return torch.full(noise.shape, self.mask, device=noise.device)

    def corrupt(self, x0: Tensor, keep: Tensor, noise: Tensor) -> Tensor:
        """Return x_t: each token kept with probability a, or masked."""
        return torch.where(share(noise[:, 0]) < columns(keep, x0.ndim), x0, self.mask)

    def log_likelihood(self, x: Tensor, lam: Tensor) -> Tensor:
        """Return log(1 - a) for the mask; for a token log a where k = x and log 0 elsewhere."""
        log_a, log_rest = (columns(logsigmoid(v), x.ndim + 1) for v in (2 * lam, -2 * lam))
        k, at_x = columns(torch.arange(self.classes, device=x.device), x.ndim), x[:, None]
        return torch.where(at_x == self.mask, log_rest, torch.where(k == at_x, log_a, -torch.inf))

    def posterior(self, x: Tensor, p: Tensor, now: Level, then: Level) -> Tensor:
        """Return Σ_k p_k q(x_s | x_t = x, x_0 = k).

        A mask stays with probability (1 - a_s) / (1 - a_t) or becomes a token drawn with p; a token stays.
        """
        (_, rest_t), (a_s, rest_s) = keep_and_rest(now), keep_and_rest(then)
        at_x = x[:, None]
        shown = -a_s * expm1(2 * (now.lam - then.lam)) * p  # (a_s - a_t) / (1 - a_t)
        freed = torch.cat((shown, torch.full_like(p[:, :1], rest_s / rest_t)), 1)
        return torch.where(at_x == self.mask, freed, torch.zeros_like(freed).scatter(1, at_x, 1.0))

    def divergence(self, x0: Tensor, x: Tensor, log_p: Tensor, lam: Tensor) -> Tensor:
        """Return what each token adds to the bound for a unit of λ."""
        surprise = -log_p.gather(1, x0[:, None])[:, 0]
        return torch.where(x == self.mask, 2 * columns(torch.sigmoid(2 * lam), x.ndim) * surprise, 0.0)
