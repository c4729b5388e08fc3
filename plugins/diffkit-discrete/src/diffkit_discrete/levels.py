"""The keep-probability of a noise level, and which levels the bound is estimated at.

The integral ∫ f dλ over all levels is the mean of f / (a √(1 - a)) over u uniform in [0, 1], with a = 1 - u². A lost
token adds to f about as much at all levels and is met with probability 1 - a, so the variance of an estimate is finite,
as it is not where a is uniform.
"""

from math import exp

import torch
from torch import Tensor

from diffkit import DiffkitError, Level

EDGE = 2.0**-40
"""The smallest a and 1 - a of all levels that are drawn; λ is then within ±14."""


def spread_keep(u: Tensor) -> Tensor:
    """Return a = 1 - u² for ``u`` uniform in [0, 1] (float64)."""
    return (1 - u.square()).clamp(EDGE, 1 - EDGE)


def bound_weight(keep: Tensor) -> Tensor:
    """Return what the integrand in λ is multiplied by where a was drawn as :func:`spread_keep` does."""
    return 1 / (keep * torch.sqrt(1 - keep))


def keep_and_rest(at: Level) -> tuple[float, float]:
    """Return a and 1 - a of a level, neither by subtraction."""
    odds = exp(-2 * at.lam)
    return 1 / (1 + odds), odds / (1 + odds)


def check_classes(classes: int) -> int:
    """Return ``classes``; raise :class:`~diffkit.DiffkitError` where tokens have no choice."""
    if classes < 2:
        raise DiffkitError(f"classes={classes} leaves a token no choice; give the number of its values, 2 or more")
    return classes
