"""DPM-Solver++(3M) on the reverse SDE."""

import torch
from torch import Tensor

from diffkit_samplers.ancestral import not_negative
from diffkit_samplers.reverse_sde import ReverseSDE


class DPMpp3MSDE(ReverseSDE):
    """The linear part of a reverse SDE is solved exactly, and x_0 is a parabola in λ through three estimates.

    With h = λ' - λ, D(u) the parabola at λ + u, and n fresh noise,

        x' = (σ'/σ) exp(-η h) x + α' (1 + η) ∫_0^h exp((1 + η) (u - h)) D(u) du + σ' √(1 - exp(-2η h)) n.

    Crowson, k-diffusion (2022), ``sample_dpmpp_3m_sde``, on Lu et al., "DPM-Solver++" (2022), section 5; but there the
    curvature has half of the weight that it has in the integral. Order 2 in distribution where η>0, for estimates along
    a path of an SDE are not smooth, but with a smaller error than ``dpmpp_2m_sde``; with η=0 it is ``dpmpp_3m``, of
    order 3, without its lower orders before σ=0. One evaluation a step; the last step, to σ=0, is x_0.

    Args:
        steps: the number of steps.
        eta: η: 0 is the probability flow, 1 the reverse of the forward process.
    """

    def __init__(self, steps: int = 20, eta: float = 1.0) -> None:
        super().__init__(steps, order=3)
        not_negative(eta=eta)
        self.eta = eta

    def rate(self, lam: Tensor) -> Tensor:
        """Return 1 + η."""
        return torch.full_like(lam[1:], 1 + self.eta)
