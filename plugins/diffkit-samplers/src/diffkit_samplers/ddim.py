"""Denoising diffusion implicit models."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from math import sqrt
from typing import Any

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, StepSampler
from diffkit_samplers.ancestral import towards_data, unknown_share


class DDIM(StepSampler):
    """x_0 and ε are held over the step: x' = α' x_0 + √(σ'² - c²) ε + c z, with z fresh noise.

        c = η σ' √(1 - exp(2λ - 2λ'))

    Song et al., "Denoising Diffusion Implicit Models" (2021), eq. 12 and 16, for any α and σ. Order 1; with η=0 it is
    deterministic and the same method as ``euler``, with η=1 it is ``ddpm`` of the small variance.

    Args:
        steps: the number of steps.
        eta: η, from 0 (no fresh noise) to 1 (as much as in ancestral sampling).
    """

    def __init__(self, steps: int = 20, eta: float = 0.0) -> None:
        super().__init__(steps)
        if not 0 <= eta <= 1:
            raise DiffkitError(f"eta={eta} is not a share of fresh noise; give a number from 0 to 1, such as eta=0")
        self.eta = eta

    def prepare(self, path: Sequence[Level]) -> list[tuple[float, float, float]]:
        """Return for each step the weights of x, of x_0 and of fresh noise."""
        if self.eta:
            towards_data(path)
        plans = []
        for now, then in pairwise(path):
            fresh = self.eta**2 * unknown_share(now, then) if self.eta else 0.0  # c²/σ'²
            kept = then.sigma * sqrt(1 - fresh) / now.sigma
            plans.append((kept, then.alpha - kept * now.alpha, then.sigma * sqrt(fresh)))
        return plans

    def step(
        self, x: Tensor, x0: Tensor, now: Level, then: Level, *, plan: Any, draw: Callable[[], Tensor], **_: Any
    ) -> Tensor:
        """Return the sample at level ``then``."""
        kept, gain, noise = plan
        x = torch.mul(x, kept).add_(x0, alpha=gain)
        return x.add_(draw(), alpha=noise) if noise else x
