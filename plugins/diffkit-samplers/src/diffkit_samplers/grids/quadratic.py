"""Equal steps in the square root of time."""

import torch
from torch import Tensor

from diffkit.contracts.schedule import Schedule


class QuadraticGrid:
    """t = (1 - i/steps)²: uniform in √t, so that more of the steps are at little noise.

    Song et al., "Denoising Diffusion Implicit Models" (2021), appendix D.2, τ_i = ⌊c i²⌋ in continuous time. The step
    to clean data is as long in √t as the others.
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        return (1 - torch.arange(steps, dtype=torch.float64) / steps).square()
