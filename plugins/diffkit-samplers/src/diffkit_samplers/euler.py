"""Euler's method on the probability flow."""

from typing import Any

import torch
from torch import Tensor

from diffkit import Level, StepSampler


class Euler(StepSampler):
    """Euler's method on the probability-flow ODE in the coordinates of rectified flow.

    With τ = σ/(α + σ) and y = x/(α + σ) every schedule becomes y = (1 - τ) x_0 + τ ε, and the flow is

        dy/dτ = ε - x_0 = (y - x_0) / τ,

    so a step is y' = (τ'/τ) y + (1 - τ'/τ) x_0. That is exactly ``ddim``, whatever the coordinates. Order 1.

    Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), eq. 13.
    """

    def step(self, x: Tensor, x0: Tensor, now: Level, then: Level, **_: Any) -> Tensor:
        """Return the sample at level ``then``."""
        scale, scale_then = now.alpha + now.sigma, then.alpha + then.sigma
        kept = (then.sigma / scale_then) / (now.sigma / scale)
        return torch.add((scale_then / scale * kept) * x, x0, alpha=scale_then * (1 - kept))
