"""Ancestral sampling."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import exp, sqrt
from typing import Any, Literal

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, StepSampler
from diffkit_samplers.ancestral import towards_data, unknown_share


class DDPM(StepSampler):
    """A draw from q(x' | x, x_0), the reverse of the forward process given the estimate of x_0.

    With r = exp(λ - λ'), its mean is α' x_0 + σ' r ε and its variance σ'² (1 - r²). Ho et al., "Denoising Diffusion
    Probabilistic Models" (2020), eq. 6 and 7, for any α and σ. The last step returns x_0 itself. Order 1.

    Args:
        steps: the number of steps.
        variance: ``small`` is the variance above, β̃ of the paper, right where x_0 is known. ``large`` is its β, right
            where x_0 is standard normal: the small one times (1 + SNR') / (1 + SNR).
    """

    def __init__(self, steps: int = 50, variance: Literal["small", "large"] = "small") -> None:
        super().__init__(steps)
        if variance not in ("small", "large"):
            raise DiffkitError(f"variance={variance} is not known; give variance=small or variance=large")
        self.variance = variance

    def prepare(self, path: Sequence[Level]) -> list[tuple[float, float, float]]:
        """Return for each step the weights of x, of x_0 and of fresh noise."""
        towards_data(path)
        return [self._weights(now, then) for now, then in pairwise(path)]

    def _weights(self, now: Level, then: Level) -> tuple[float, float, float]:
        if then.sigma == 0:
            return 0.0, then.alpha, 0.0
        kept = then.sigma / now.sigma * exp(now.lam - then.lam)
        variance = then.sigma**2 * unknown_share(now, then)
        if self.variance == "large":
            variance *= (1 + exp(2 * then.lam)) / (1 + exp(2 * now.lam))
        return kept, then.alpha - kept * now.alpha, sqrt(variance)

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, plan: Any, draw: Callable[[], Tensor], **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        kept, gain, noise = plan
        x = torch.mul(x, kept).add_(x0, alpha=gain)
        return x.add_(draw(), alpha=noise) if noise else x
