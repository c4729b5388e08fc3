"""Equal steps in the share of the data."""

import torch
from torch import Tensor

from diffkit.contracts.schedule import Schedule
from diffkit_samplers.grids.ends import equal, lam_ends


class UniformAlphaGrid:
    """Uniform in ᾱ = α/√(α² + σ²), which is α itself where the variance is preserved.

    So it means the same under every schedule, also where α is constant. The step to clean data, ᾱ = 1, is as long as
    the others, unless the schedule does not reach so little noise. With q = 1 - ᾱ, λ = ½ log((1 - q)²/(q (2 - q))).
    """

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        lam = torch.tensor(lam_ends(schedule), dtype=torch.float64)
        first, smallest = (torch.sigmoid(-2 * lam) / (1 + torch.sigmoid(2 * lam).sqrt())).tolist()
        q = equal(first, max(first / steps, smallest), steps)
        return schedule.time((1 - q).log() - (q * (2 - q)).log() / 2)
