"""Replacement by a token drawn uniformly."""

from math import expm1, log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from diffkit import Level
from diffkit_discrete.draws import columns, share
from diffkit_discrete.levels import check_classes, keep_and_rest


class UniformProcess:
    """π(x) = 1/K: what is lost becomes any token, and nothing shows which ones were lost.

    Austin et al., "Structured Denoising Diffusion Models in Discrete State-Spaces" (2021), appendix A.2.1; the bound in
    continuous time as in Schiff et al., "Simple Guidance Mechanisms for Discrete Diffusion Models" (2024). With
    l = (1 - a)/K and h = a + l, the chances of a noisy token that is not x_0 and of one that is, the reversed process
    goes from x to y ≠ x, for a unit of λ, at the rate

        2 l h / l = 2h where y = x_0,      2 l l / h where x = x_0,      2l elsewhere,

    and with probabilities p for x_0 at the rate 2 l (l + a (1 - p_x)) / h + 2 a p_y.

    Args:
        classes: the number K of values of a token.
    """

    def __init__(self, classes: int) -> None:
        self.classes = self.states = check_classes(classes)

    def start(self, noise: Tensor) -> Tensor:
        """Return tokens drawn uniformly."""
        return (share(noise) * self.classes).long().clamp(max=self.classes - 1)

    def corrupt(self, x0: Tensor, keep: Tensor, noise: Tensor) -> Tensor:
        """Return x_t: each token kept with probability a, or drawn anew."""
        return torch.where(share(noise[:, 0]) < columns(keep, x0.ndim), x0, self.start(noise[:, 1]))

    def log_likelihood(self, x: Tensor, lam: Tensor) -> Tensor:
        """Return log h where k = x and log l elsewhere."""
        _, log_l, log_h = self._logs(lam, x.ndim + 1)
        k = columns(torch.arange(self.classes, device=x.device), x.ndim)
        return torch.where(k == x[:, None], log_h, log_l)

    def posterior(self, x: Tensor, p: Tensor, now: Level, then: Level) -> Tensor:
        """Return Σ_k p_k q(x_s | x_t = x, x_0 = k).

        For one k the chance of j is (r δ_jx + (1 - r)/K) (a_s δ_jk + l_s) / (a_t δ_xk + l_t), with r = a_t / a_s. The
        sum is written in v_k = p_k l_t / (a_t δ_xk + l_t), so that nothing is divided by a vanishing l_t.
        """
        (a_t, rest_t), (a_s, rest_s) = keep_and_rest(now), keep_and_rest(then)
        at_x, likely = x[:, None], a_t + rest_t / self.classes
        p_x = p.gather(1, at_x)
        v = p.scatter(1, at_x, p_x * (rest_t / self.classes / likely))
        total = v.sum(1, keepdim=True)
        changed = -expm1(2 * (now.lam - then.lam))  # (1 - r) / (1 - a_t)
        moved = changed * (a_s * v + rest_s / self.classes * total)
        stayed = a_t / a_s * (a_s / likely * p_x + rest_s / rest_t * total)
        return moved.scatter_add(1, at_x, stayed)

    def divergence(self, x0: Tensor, x: Tensor, log_p: Tensor, lam: Tensor) -> Tensor:
        """Return what each token adds to the bound for a unit of λ, from the logarithms of the rates."""
        log_a, log_l, log_h = self._logs(lam, log_p.ndim)
        at_x = x[:, None]
        other = log_p.scatter(1, at_x, -torch.inf).logsumexp(1, keepdim=True)  # log(1 - p_x)
        common = log_l - log_h + torch.logaddexp(log_l, log_a + other)
        model = torch.logaddexp(common, log_a + log_p)
        elsewhere = torch.where(at_x == x0[:, None], 2 * log_l - log_h, log_l).expand_as(log_p)
        true = elsewhere.scatter(1, x0[:, None], log_h.expand_as(log_p))
        terms = model.exp() + true.exp() * (true - model - 1)
        return 2 * terms.scatter(1, at_x, 0.0).sum(1)

    def _logs(self, lam: Tensor, ndim: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return log a, log l and log h, each ``(batch, 1, …)``."""
        log_a, log_l = logsigmoid(2 * lam), logsigmoid(-2 * lam) - log(self.classes)
        log_a, log_l, log_h = (columns(value, ndim) for value in (log_a, log_l, torch.logaddexp(log_a, log_l)))
        return log_a, log_l, log_h
