"""What a step towards clean data cannot know of x' even where x_0 is known."""

from math import expm1

from diffkit import DiffkitError, Level


def unknown_share(now: Level, then: Level) -> float:
    """Return the share 1 - exp(2λ - 2λ') of the variance σ'² that x' still has where x and x_0 are known.

    Raises:
        DiffkitError: where the step goes towards noise: there nothing is left to draw.
    """
    if then.lam < now.lam:
        raise DiffkitError(
            "a sampler that adds noise cannot walk a grid backwards; invert with a deterministic one, such as "
            "sampler=ddim sampler.eta=0"
        )
    return -expm1(2 * (now.lam - then.lam))
