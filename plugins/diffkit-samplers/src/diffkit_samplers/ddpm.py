"""Ancestral sampling."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, sqrt
from typing import Any, Literal

from torch import Tensor

from diffkit import DiffkitError, Level, summed
from diffkit_samplers.ancestral import towards_data, unknown_share
from diffkit_samplers.linear import Linear, Weights


class DDPM(Linear):
    """A draw from q(x' | x, x_0), the reverse of the forward process given the estimate of x_0.

    With r = exp(λ - λ'), its mean is α' x_0 + σ' r ε and its variance σ'² (1 - r²). Ho et al., "Denoising Diffusion
    Probabilistic Models" (2020), eq. 6 and 7, for any α and σ. The last step returns x_0 itself. Order 1.

    Args:
        steps: the number of steps.
        variance: ``small`` is the variance above, β̃ of the paper, right where x_0 is known. ``large`` is its β, right
            where x_0 is standard normal: the small one times (1 + SNR') / (1 + SNR). ``learned`` is right where the
            model's own estimate of the variance is, however long the step: the small one and Var[x_0 | x] times the
            square of what x_0 counts in the mean. Bao et al., "Analytic-DPM" (2022), and by value Bao et al.,
            "Estimating the Optimal Covariance with Imperfect Mean in Diffusion Probabilistic Models" (2022). It takes a
            model of ``prediction=learned_variance``; under guidance, one evaluation more a step.
    """

    def __init__(self, steps: int = 50, variance: Literal["small", "large", "learned"] = "small") -> None:
        super().__init__(steps)
        if variance not in ("small", "large", "learned"):
            raise DiffkitError(f"variance={variance} is not known; give variance=small, large or learned")
        self.variance, self.moments = variance, variance == "learned"

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step."""
        towards_data(path)
        return [self._weights(now, then) for now, then in pairwise(path)]

    def _weights(self, now: Level, then: Level) -> Weights:
        if then.sigma == 0:
            return Weights((0.0, then.alpha))
        kept = then.sigma / now.sigma * exp(now.lam - then.lam)
        variance = then.sigma**2 * unknown_share(now, then)
        if self.variance == "large":
            variance *= (1 + exp(2 * then.lam)) / (1 + exp(2 * now.lam))
        return Weights((kept, then.alpha - kept * now.alpha), sqrt(variance))

    def step(
        self, x: Tensor, x0: Any, now: Level, then: Level, *, plan: Weights, draw: Callable[[], Tensor], **more: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        if not self.moments:
            return super().step(x, x0, now, then, plan=plan, draw=draw, **more)
        x0, variance = x0
        x = summed(plan.terms, (x, x0))
        if not plan.noise:
            return x
        return x.addcmul_(draw(), (plan.terms[1] ** 2 * variance).add_(plan.noise**2).sqrt_())
