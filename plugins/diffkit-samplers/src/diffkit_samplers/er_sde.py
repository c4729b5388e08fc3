"""Solvers for the extended reverse-time SDE."""

import math
from typing import Literal

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_samplers.multistep import NODES, WEIGHTS
from diffkit_samplers.orders import chosen
from diffkit_samplers.reverse_sde import ReverseSDE


class ERSDE(ReverseSDE):
    """A reverse SDE with as much noise as a function φ of s = σ/α says, and x_0 a polynomial in s.

    With z = x/α, D(u) the polynomial through estimates, and n fresh noise,

        z' = r z + ∫_r^1 D(u) dw + √(s'² - r² s²) n,        w = φ(s')/φ(u),        r = φ(s')/φ(s),

    with u between s and s'. ``er`` is φ = s (exp(s^0.3) + 10): little noise at low levels, where errors would show.
    ``sde`` is φ = s², the reverse of the forward process, and ``ode`` is φ = s, the probability flow.

    Cui et al., "Elucidating the Solution Space of Extended Reverse-Time SDE for Diffusion Models" (2023). The
    polynomial is the one through the estimates; the paper's third order has (u - s)² in the place of (u - s) (u - s_j),
    s_j the place of the estimate before. Order ``order`` without noise; with noise 1 or 2, in
    distribution, but with ``er`` of a small error. One evaluation a step; the last step, to σ=0, is x_0.

    Args:
        steps: the number of steps.
        order: how many estimates a step looks at, 1 to 3; none is 3. The first steps look at those there are.
        phi: φ.
    """

    def __init__(self, steps: int = 20, order: int | None = None, phi: Literal["er", "sde", "ode"] = "er") -> None:
        super().__init__(steps, chosen(order, 3, 3, steps))
        if phi not in ("er", "sde", "ode"):
            raise DiffkitError(f"phi={phi!r} is not an amount of noise; give phi=er, phi=sde or phi=ode")
        self.phi = phi

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return s."""
        return torch.exp(-lam)

    def decay(self, lam: Tensor) -> Tensor:
        """Return log φ(s) - log φ(s') for each step."""
        return -self._log_phi(lam).diff()

    def _log_phi(self, lam: Tensor) -> Tensor:
        if self.phi == "er":
            return torch.logaddexp(torch.exp(-0.3 * lam), lam.new_tensor(math.log(10))) - lam
        return -lam if self.phi == "ode" else -2 * lam

    def powers(self, lam: Tensor, decay: Tensor, count: int) -> Tensor:
        """Return ∫ v^k dw = ∫_0^1 w dv^k - r, v = (u - s')/(s - s'), by quadrature in log u; it is 1 - r for k=0."""
        now, then = lam[:-1, None], lam[1:, None]
        at = (now + then) / 2 + (then - now) / 2 * NODES
        v = torch.expm1(then - at) / torch.expm1(then - now)
        slope = torch.exp(then - at) / torch.expm1(then - now)  # -dv/dλ
        kernel = torch.exp(self._log_phi(then) - self._log_phi(at)) * slope * WEIGHTS * (then - now) / 2
        r = torch.exp(-decay)
        higher = [k * (kernel * v ** (k - 1)).sum(1) - r for k in range(1, count)]
        return torch.stack([-torch.expm1(-decay), *higher], 1)
