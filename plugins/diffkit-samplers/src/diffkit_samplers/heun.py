"""Heun's method on the probability flow."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, StepSampler


class Heun(StepSampler):
    """Heun's method on the probability-flow ODE in the coordinates of rectified flow (see :class:`Euler`).

    The slope (y - x_0)/τ is averaged over both ends of the step:

        y₁ = y + (τ' - τ) (y - x_0)/τ,        y' = y + (τ' - τ) ½ ((y - x_0)/τ + (y₁ - D(y₁))/τ').

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), algorithm 1, who take it
    in σ/α, where a step from much noise overshoots; τ stays below 1. Order 2, two evaluations a step, one in the last,
    to σ=0.
    """

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, denoise: Callable[[Tensor, Level], Tensor], **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        scale, scale_then = now.alpha + now.sigma, then.alpha + then.sigma
        tau, tau_then = now.sigma / scale, then.sigma / scale_then
        kept = tau_then / tau
        euler = torch.add((scale_then / scale * kept) * x, x0, alpha=scale_then * (1 - kept))
        if then.sigma == 0:
            return euler
        half = (tau_then - tau) / 2
        x1 = denoise(euler, then)
        # x' = mean of x + step of first slope + step of second slope
        x = torch.add((scale_then / scale * (1 + half / tau)) * x, x0, alpha=-scale_then * half / tau)
        return x.add_(euler, alpha=half / tau_then).add_(x1, alpha=-scale_then * half / tau_then)
