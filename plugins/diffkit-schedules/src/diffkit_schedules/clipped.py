"""A part of another schedule."""

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule
from diffkit_schedules.ends import check_ends
from diffkit_schedules.wrapped import find_base, lam_ends


class Clipped:
    """Another schedule between two λ only. Its time is stretched over what is left, so that λ falls everywhere.

        α'(t) = α(u),    σ'(t) = σ(u),    u = u₀ + t (u₁ - u₀),    λ(u₀) = lam_max,    λ(u₁) = lam_min

    Holding λ at the limits instead, as Hoogeboom et al., "Simple Diffusion" (2023) do at ±7.5 (a log SNR of ±15), would
    leave it without an inverse.

    Args:
        base: the schedule: a name, a mapping of ``name`` and options, or itself.
        lam_min: λ at t=1; the base's own end where that is higher.
        lam_max: λ at t=0; the base's own end where that is lower.
        spec: what the network models.
    """

    def __init__(
        self,
        base: str | Schedule = "cosine",
        lam_min: float = -7.5,
        lam_max: float = 7.5,
        spec: DataSpec | None = None,
    ) -> None:
        check_ends(lam_min, lam_max)
        self.base, self.lam_min, self.lam_max = find_base(base, spec), lam_min, lam_max
        last, first = lam_ends(self.base)
        ends = torch.tensor([min(lam_max, first), max(lam_min, last)], dtype=torch.float64)
        if not ends[0] > ends[1]:
            raise DiffkitError(
                f"lam_min={lam_min} and lam_max={lam_max} leave nothing of the base, whose λ is between {last:.4g} and "
                f"{first:.4g}; give a range that overlaps with it"
            )
        self._first, end = self.base.time(ends).tolist()
        self._length = end - self._first

    def _inner(self, t: Tensor) -> Tensor:
        """Return u at times ``t``."""
        return self._first + t * self._length

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return self.base.alpha(self._inner(t))

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return self.base.sigma(self._inner(t))

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return self.base.lam(self._inner(t))

    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""
        return ((self.base.time(lam) - self._first) / self._length).clamp(0, 1)
