"""Noise of independent values: normal, and two laws that are not.

Whatever the law, the forward process x_t = α x_0 + σ ε keeps its mean and variance at every level, and the squared
error trains the network towards E[x_0 | x_t] of that process. What follows from the estimate is exact for normal noise:
deterministic solvers carry the law of x_t from level to level, the score is (α D - x) / σ², and noise that is added on
the way continues the process. Under another law the first is a heuristic, and the others are wrong and refused.
"""

import torch
from torch import Generator, Tensor


class NormalNoise:
    """Independent standard normal noise, under which all is exact."""

    gaussian = True
    stable = True

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise of ``shape``, drawn on ``device`` with a generator of that device."""
        return torch.randn(shape, generator=generator, device=device)


class UniformNoise:
    """Independent noise, uniform in [-√3, √3): of unit variance, and never far out.

    The loss and the estimate E[x_0 | x_t] are exact. Deterministic samplers are a heuristic: their trajectories assume
    normal noise. Samplers that add noise on the way, and likelihoods, would be wrong and are refused: a sum of two
    uniform draws is not uniform.
    """

    gaussian = False
    stable = False

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise of ``shape``, drawn on ``device`` with a generator of that device."""
        return torch.rand(shape, generator=generator, device=device).mul_(2).sub_(1).mul_(3**0.5)


class RademacherNoise:
    """Independent noise of -1 and 1, each half of the time: of unit variance, and the smallest fourth moment there is.

    What is exact and what is a heuristic is as for :class:`UniformNoise`: a sum of two such draws is not one.
    """

    gaussian = False
    stable = False

    def __call__(
        self, shape: tuple[int, ...], generator: Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise of ``shape``, drawn on ``device`` with a generator of that device."""
        return torch.empty(shape, device=device).bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
