"""Schedules that are given as tables."""

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_schedules.splines import Falling, Smooth


class Tabulated:
    """The noise levels of a table, exact at its entries, and smooth between them.

    Entry k of n is at t = k/(n-1), the first one the cleanest. A table of β means, as in DDPM,

        α_k² = (1 - β_1) ⋯ (1 - β_k),    σ_k² = 1 - α_k²,

    and is computed as sums of log(1 - β). Between the entries λ is a monotone rational quadratic curve (Gregory &
    Delbourgo, 1982), whose inverse is exact, and log(α² + σ²) a cubic one.

    Args:
        betas: noise variances, each within 0 and 1.
        alphas: α of each entry; not DDPM's α, which is 1 - β, nor its running product, which is α².
        sigmas: σ of each entry.
    """

    def __init__(
        self,
        betas: list[float] | None = None,
        alphas: list[float] | None = None,
        sigmas: list[float] | None = None,
    ) -> None:
        if betas is not None and alphas is None and sigmas is None:
            log_alpha, log_sigma = _of_betas(betas)
        elif betas is None and alphas is not None and sigmas is not None:
            log_alpha, log_sigma = _of_coefficients(alphas, sigmas)
        else:
            raise DiffkitError(
                "a table of noise levels is a list of betas, or one of alphas and one of sigmas; give either, such as "
                "schedule.betas=[0.01,0.02,0.05,0.1,0.3,0.6]"
            )
        lam = log_alpha - log_sigma
        _check_fall(lam)
        self._lam = Falling(lam)
        self._log_power = None if betas is not None else Smooth(torch.logaddexp(2 * log_alpha, 2 * log_sigma))
        self._last = len(lam) - 1

    def _at(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return λ and log(α² + σ²) at times ``t``, in float64."""
        places = t.double() * self._last
        lam = self._lam(places)
        return lam, torch.zeros_like(lam) if self._log_power is None else self._log_power(places)

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        lam, power = self._at(t)
        return (torch.exp(power) * torch.sigmoid(2 * lam)).sqrt().to(t)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        lam, power = self._at(t)
        return (torch.exp(power) * torch.sigmoid(-2 * lam)).sqrt().to(t)

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        return self._at(t)[0].to(t)

    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""
        return (self._lam.place(lam.double()) / self._last).clamp(0, 1).to(lam)


def _numbers(name: str, values: list[float]) -> Tensor:
    """Return ``values`` as a tensor; refuse what is no list of two or more positive finite numbers."""
    try:
        table = torch.tensor([float(value) for value in values], dtype=torch.float64)
    except (TypeError, ValueError):
        raise DiffkitError(f"{name} is no list of numbers; give one, such as schedule.{name}=[0.1,0.2,0.4]") from None
    if len(table) < 2:
        raise DiffkitError(f"{name} has {len(table)} entries, which are no table; give two or more")
    bad = ~((table > 0) & table.isfinite())
    if bad.any():
        k = int(bad.nonzero()[0, 0])
        raise DiffkitError(f"{name}[{k}] is {table[k]:g}, and λ is not finite there; give finite numbers above 0")
    return table


def _of_betas(betas: list[float]) -> tuple[Tensor, Tensor]:
    """Return log α and log σ of a table of β."""
    table = _numbers("betas", betas)
    if not table.max() < 1:
        k = int(table.argmax())
        raise DiffkitError(
            f"betas[{k}] is {table[k]:g}, which leaves no data at all; give numbers below 1 (for a table that ends "
            f"without signal choose schedule=zero_snr, which leaves a little)"
        )
    log_power = torch.log1p(-table).cumsum(0)
    return log_power / 2, torch.log(-torch.expm1(log_power)) / 2


def _of_coefficients(alphas: list[float], sigmas: list[float]) -> tuple[Tensor, Tensor]:
    """Return log α and log σ of a table of both."""
    alpha, sigma = _numbers("alphas", alphas), _numbers("sigmas", sigmas)
    if len(alpha) != len(sigma):
        raise DiffkitError(
            f"there are {len(alpha)} alphas and {len(sigma)} sigmas; give as many of one as of the other"
        )
    return alpha.log(), sigma.log()


def _check_fall(lam: Tensor) -> None:
    rising = ~(lam.diff() < 0)
    if rising.any():
        k = int(rising.nonzero()[0, 0])
        raise DiffkitError(
            f"the table is not monotone: λ = log(α/σ) goes from {lam[k]:g} at entry {k} to {lam[k + 1]:g} at entry "
            f"{k + 1}; sort it from the cleanest level to the noisiest, and leave out what repeats"
        )
