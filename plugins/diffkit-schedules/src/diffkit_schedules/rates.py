"""Variance-preserving processes given by the rate β at which they lose signal."""

from abc import ABC, abstractmethod
from math import log1p

import torch
from torch import Tensor

from diffkit import DiffkitError


def check_betas(beta_1: float, beta_T: float, T: int) -> None:
    """Raise :class:`~diffkit.DiffkitError` unless these are the ends and the length of a rising table of β."""
    if not 0 < beta_1 <= beta_T < 1 or T < 2:
        raise DiffkitError(
            f"beta_1={beta_1}, beta_T={beta_T} and T={T} are not a table of noise variances; give "
            f"0 < beta_1 <= beta_T < 1 and T of 2 or more, such as beta_1=1e-4 beta_T=0.02 T=1000"
        )


class Rates(ABC):
    """α² = exp(-B), σ² = 1 - exp(-B), λ = -½ log(exp(B) - 1), with B(s) the integral of β from 0 to the place s.

    There is no noise at s=0, so time t is the place s₀ + t (1 - s₀).

    Args:
        variance: σ² at s₀.
    """

    def __init__(self, variance: float) -> None:
        self._first = float(self.place(torch.tensor(-log1p(-variance), dtype=torch.float64)))
        if self._first >= 1:
            raise DiffkitError(
                f"σ² is {variance:g} at first and not larger at the end; give a larger T, such as T=1000"
            )

    @abstractmethod
    def integral(self, s: Tensor) -> Tensor:
        """Return B at places ``s``."""

    @abstractmethod
    def place(self, integral: Tensor) -> Tensor:
        """Return the places at which B is ``integral``, in a form that has no cancellation."""

    def _integral_at(self, t: Tensor) -> Tensor:
        return self.integral(self._first + t * (1 - self._first))

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return torch.exp(-self._integral_at(t) / 2)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return (-torch.expm1(-self._integral_at(t))).sqrt()

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``, from B by way of expm1."""
        integral = self._integral_at(t)
        return -(integral + torch.log(-torch.expm1(-integral))) / 2

    def time(self, lam: Tensor) -> Tensor:
        """Return t from B = log(1 + exp(-2λ)), in [0, 1] also where λ is beyond the ends."""
        integral = torch.logaddexp(-2 * lam, torch.zeros_like(lam))
        return ((self.place(integral) - self._first) / (1 - self._first)).clamp(0, 1)


class LinearRates(Rates):
    """β = a + (b - a) s, so that B(s) = a s + (b - a) s²/2.

    Args:
        a: β at s=0.
        b: β at s=1.
        variance: σ² at s₀.
    """

    def __init__(self, a: float, b: float, variance: float) -> None:
        self._slope, self._half_curve = a, (b - a) / 2
        super().__init__(variance)

    def integral(self, s: Tensor) -> Tensor:
        """Return B at places ``s``."""
        return s * (self._slope + self._half_curve * s)

    def place(self, integral: Tensor) -> Tensor:
        """Return the places at which B is ``integral``: the positive root."""
        return 2 * integral / (self._slope + (self._slope**2 + 4 * self._half_curve * integral).sqrt())
