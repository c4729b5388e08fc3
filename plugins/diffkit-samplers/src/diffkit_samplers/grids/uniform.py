"""Equal steps in time."""

import torch
from torch import Tensor

from diffkit.contracts.schedule import Schedule


class UniformGrid:
    """1, 1 - 1/steps, …, 1/steps: uniform in t, and the step to clean data is as long as the others."""

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        return 1 - torch.arange(steps, dtype=torch.float64) / steps
