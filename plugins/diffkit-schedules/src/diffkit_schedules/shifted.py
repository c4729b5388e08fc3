"""A schedule made for one resolution, for another."""

from math import log

from torch import Tensor

from diffkit import DataSpec
from diffkit.contracts.schedule import Schedule
from diffkit_schedules.ends import check_shift
from diffkit_schedules.wrapped import find_base


class Shifted:
    """Another schedule with its λ lowered by log k everywhere: k times as much noise for the data.

        λ' = λ - log k,    σ' = k σ / n,    α' = α / n,    n² = (α² + k² σ²) / (α² + σ²)

    Neighbouring pixels of a larger picture are more alike, so that noise is averaged away and the same picture is still
    to be seen; a picture of k times the side wants k times the noise. Hoogeboom et al., "Simple Diffusion" (2023),
    section 3.1, where 64/d is 1/k. Scaling the data by 1/k, as Chen, "On the Importance of Noise Scheduling for
    Diffusion Models" (2023), does, is the same. α² + σ² stays what it was.

    Args:
        base: the schedule: a name, a mapping of ``name`` and options, or itself.
        shift: k, by how much a picture's side is longer than that which the base is right for; below 1 for less noise.
        spec: what the network models.
    """

    def __init__(self, base: str | Schedule = "cosine", shift: float = 2.0, spec: DataSpec | None = None) -> None:
        check_shift(shift)
        self.base, self.shift = find_base(base, spec), shift

    def _parts(self, t: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return α, k σ, and n at times ``t``."""
        alpha, sigma = self.base.alpha(t), self.base.sigma(t)
        noise = self.shift * sigma
        return alpha, noise, ((alpha**2 + noise**2) / (alpha**2 + sigma**2)).sqrt()

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        alpha, _, n = self._parts(t)
        return alpha / n

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        _, noise, n = self._parts(t)
        return noise / n

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return self.base.lam(t) - log(self.shift)

    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""
        return self.base.time(lam + log(self.shift))
