"""Denoising diffusion implicit models."""

from collections.abc import Sequence
from itertools import pairwise
from math import sqrt

from diffkit import DiffkitError, Level
from diffkit_samplers.ancestral import towards_data, unknown_share
from diffkit_samplers.linear import Linear, Weights


class DDIM(Linear):
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

    def prepare(self, path: Sequence[Level]) -> list[Weights]:
        """Return the weights of each step."""
        if self.eta:
            towards_data(path)
        plans = []
        for now, then in pairwise(path):
            fresh = self.eta**2 * unknown_share(now, then) if self.eta else 0.0  # c²/σ'²
            kept = then.sigma * sqrt(1 - fresh) / now.sigma
            plans.append(Weights((kept, then.alpha - kept * now.alpha), then.sigma * sqrt(fresh)))
        return plans
