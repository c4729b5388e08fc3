"""The sigmoid schedule."""

from math import cosh, log

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_schedules.ends import check_ends
from diffkit_schedules.preserving import Preserving


class Sigmoid(Preserving):
    """α² falls along a piece of the sigmoid curve S, from 1 where the piece starts to 0 where it ends.

        α² = (S(e) - S(x)) / (S(e) - S(s)),    s = start/τ,    e = end/τ,    x between them uniform in t

    Jabri et al., "Scalable Adaptive Computation for Iterative Generation" (2022); Chen, "On the Importance of Noise
    Scheduling for Diffusion Models" (2023), where τ is what is tuned. With p = x - s walked and q = e - x to go,
    S(a) - S(b) = ½ sinh((a-b)/2) / (cosh(a/2) cosh(b/2)) gives forms in which no digits are lost:

        λ = ½ (c - k),    c = log (cosh(s/2) / cosh(e/2)),    k = log (sinh(p/2) / sinh(q/2)),
        p = log (1 + exp(k + L/2)) - log (1 + exp(k - L/2)),    L = e - s,    and q with -k in place of k.

    Args:
        start: where on the curve the piece starts.
        end: where it ends.
        tau: τ; the smaller, the steeper in the middle.
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
    """

    def __init__(
        self,
        start: float = -3.0,
        end: float = 3.0,
        tau: float = 1.0,
        lam_min: float = -10.0,
        lam_max: float = 10.0,
    ) -> None:
        check_ends(lam_min, lam_max)
        if not (tau > 0 and start < end and max(abs(start), abs(end)) <= 100 * tau):
            raise DiffkitError(
                f"start={start}, end={end} and tau={tau} are no piece of the sigmoid curve; give start < end and a tau "
                f"above 0, neither end beyond 100 tau, such as start=-3 end=3 tau=1"
            )
        self.start, self.end, self.tau = start, end, tau
        self.lam_min, self.lam_max = lam_min, lam_max
        self._length = (end - start) / tau
        self._tilt = log(cosh(start / tau / 2)) - log(cosh(end / tau / 2))
        lam = torch.tensor([lam_max, lam_min], dtype=torch.float64)
        self._p_0, self._q_1 = float(self._walked(lam)[0]), float(self._to_go(lam)[1])
        self._delta = self._length - self._p_0 - self._q_1

    def _walked(self, lam: Tensor) -> Tensor:
        """Return p at levels ``lam``."""
        return _difference(self._tilt - 2 * lam, self._length / 2)

    def _to_go(self, lam: Tensor) -> Tensor:
        """Return q at levels ``lam``."""
        return _difference(2 * lam - self._tilt, self._length / 2)

    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""
        p, q = self._p_0 + t * self._delta, self._q_1 + (1 - t) * self._delta
        k = (p - q) / 2 + torch.log(-torch.expm1(-p)) - torch.log(-torch.expm1(-q))
        return (self._tilt - k) / 2

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (p - p₀) / Δ, in [0, 1] also where λ is beyond the ends."""
        return ((self._walked(lam) - self._p_0) / self._delta).clamp(0, 1)


def _difference(k: Tensor, half: float) -> Tensor:
    """Return log (1 + exp(k + half)) - log (1 + exp(k - half))."""
    zero = torch.zeros_like(k)
    return torch.logaddexp(k + half, zero) - torch.logaddexp(k - half, zero)
