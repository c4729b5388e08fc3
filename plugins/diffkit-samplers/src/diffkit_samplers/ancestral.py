"""What a step towards clean data cannot know of x' even where x_0 is known."""

from collections.abc import Sequence
from itertools import pairwise
from math import expm1

from diffkit import DiffkitError, Level


def towards_data(path: Sequence[Level]) -> None:
    """Raise unless every step of ``path`` goes towards clean data.

    Raises:
        DiffkitError: where a step goes towards noise: there nothing is left to draw.
    """
    if any(then.lam < now.lam for now, then in pairwise(path)):
        raise DiffkitError(
            "a sampler that adds noise cannot walk a grid backwards; invert with a deterministic one, such as "
            "sampler=ddim sampler.eta=0"
        )


def unknown_share(now: Level, then: Level, eta: float = 1.0) -> float:
    """Return the share 1 - exp(2η (λ - λ')) of σ'² that is fresh; for η=1, what x and x_0 leave unknown."""
    return -expm1(2 * eta * (now.lam - then.lam))


def not_negative(**options: float) -> None:
    """Raise unless every option is 0 or more.

    Raises:
        DiffkitError: for the first that is not.
    """
    for name, value in options.items():
        if not 0 <= value < float("inf"):
            raise DiffkitError(f"{name}={value} is not an amount; give a number of 0 or more, such as {name}=1")
