"""The improved pseudo numerical method, without a warm start."""

import torch
from torch import Tensor

from diffkit_samplers.eps_multistep import EpsMultistep

ADAMS = (
    (1.0, 0.0, 0.0, 0.0),
    (3 / 2, -1 / 2, 0.0, 0.0),
    (23 / 12, -16 / 12, 5 / 12, 0.0),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Adams and Bashforth's weights for steps of one length, by the number of points."""


class IPNDM(EpsMultistep):
    """A step of ``ddim`` with Adams and Bashforth's mean of the last four ε, as if steps had one length.

        z' = z + (s' - s) (55 ε - 59 ε₋₁ + 37 ε₋₂ - 9 ε₋₃)/24,        z = x/α, s = σ/α,

    and with fewer ε in the first three steps. Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential
    Integrator" (2023), appendix, after Liu et al. (see :class:`~diffkit_samplers.pndm.PNDM`). Order 2 with one
    evaluation a step.
    """

    def __init__(self, steps: int = 20) -> None:
        super().__init__(steps, order=4)

    def integrals(self, s: Tensor, s_then: Tensor, nodes: Tensor, there: Tensor) -> Tensor:
        """Return the fixed weights, times the length of the step."""
        return (s_then - s)[:, None] * torch.tensor(ADAMS, dtype=torch.float64)[there.sum(1) - 1]
