"""Schedules that end with next to no signal."""

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.contracts.schedule import Schedule
from diffkit_schedules.ends import LIMIT
from diffkit_schedules.wrapped import find_base, lam_ends


class ZeroSNR:
    """Another schedule whose α is shifted and scaled to end at next to nothing: training too sees pure noise.

        α'(t) = α'(1) + c (α(t) - α(1)),    c = (α(0) - α'(1)) / (α(0) - α(1)),    σ'² = 1 - α'²

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2024), algorithm 1, with α'(1) = 0 in
    the paper. Here λ stays finite, and α'(1)² = sigmoid(2 lam_min): a SNR of 2e-9 at -10, far below what a network
    sees. Since ε says nothing about the data there, train with another prediction, such as v.

    The result preserves variance: of a base that does not, the levels λ are taken, with α² = sigmoid(2λ). As α' near 1
    would lose the digits of σ', the same line is drawn for 1 - α = σ² / (1 + α).

    Args:
        base: the schedule: a name, a mapping of ``name`` and options, or itself.
        lam_min: λ at t=1, below the base's.
        spec: what the network models.
    """

    def __init__(
        self, base: str | Schedule = "scaled_linear", lam_min: float = -10.0, spec: DataSpec | None = None
    ) -> None:
        self.base, self.lam_min = find_base(base, spec), lam_min
        last, first = lam_ends(self.base)
        if not -LIMIT <= lam_min < last:
            raise DiffkitError(
                f"lam_min={lam_min} is not below the λ at which the base ends, {last:.4g}; give a lower one, down to "
                f"{-LIMIT:g}, or take the base as it is"
            )
        ends = torch.tensor([first, last, lam_min], dtype=torch.float64)
        (alpha_0, self._alpha_1, self._end), (self._gap_0, *_) = (part.tolist() for part in _parts(ends))
        self._gain = (alpha_0 - self._end) / (alpha_0 - self._alpha_1)

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return α' and 1 - α' at times ``t``."""
        alpha, gap = _parts(self.base.lam(t))
        return self._end + self._gain * (alpha - self._alpha_1), self._gap_0 + self._gain * (gap - self._gap_0)

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return self._at(t)[0]

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        alpha, gap = self._at(t)
        return (gap * (1 + alpha)).sqrt()

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return _lam(*self._at(t))

    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""
        alpha, gap = _parts(lam)
        alpha = self._alpha_1 + (alpha - self._end).clamp(min=0) / self._gain
        gap = self._gap_0 + (gap - self._gap_0).clamp(min=0) / self._gain
        return self.base.time(_lam(alpha, gap))


def _parts(lam: Tensor) -> tuple[Tensor, Tensor]:
    """Return α and 1 - α of levels ``lam`` with α² + σ² = 1, both with all their digits."""
    alpha = torch.sigmoid(2 * lam).sqrt()
    return alpha, torch.sigmoid(-2 * lam) / (1 + alpha)


def _lam(alpha: Tensor, gap: Tensor) -> Tensor:
    """Return λ from α and 1 - α."""
    return alpha.log() - (gap * (1 + alpha)).log() / 2
