"""Equal steps in a root of the noise level."""

from math import inf

from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule
from diffkit_samplers.grids.ends import SigmaGrid, equal


class KarrasGrid(SigmaGrid):
    """Uniform in the ρ-th root of σ/α: the larger ρ, the more of the steps are at little noise.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), eq. 5. The ends are the
    paper's, for data in [-1, 1]. Hardly anything happens beyond, and schedules that go on to σ/α = 20,000, as cosine
    and flow do, would spend most of their steps there.

    Args:
        rho: ρ.
        sigma_min: the last σ/α before clean data; the schedule's smallest where that is larger, or where none is given.
        sigma_max: the first σ/α; the schedule's largest where that is smaller, or where none is given.
        spec: what the model sees.
    """

    def __init__(
        self,
        rho: float = 7.0,
        sigma_min: float | None = 0.002,
        sigma_max: float | None = 80.0,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(sigma_min, sigma_max, spec)
        if not 0 < rho < inf:
            raise DiffkitError(f"rho={rho} is not an exponent of noise levels; give a number above 0, such as rho=7")
        self.rho = rho

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        first, last = self.ends(schedule)
        root = equal(first ** (1 / self.rho), last ** (1 / self.rho), steps)
        return schedule.time(-self.rho * root.log())
