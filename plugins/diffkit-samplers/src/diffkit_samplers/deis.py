"""The diffusion exponential integrator sampler."""

import torch
from torch import Tensor

from diffkit_samplers.eps_multistep import EpsMultistep
from diffkit_samplers.orders import chosen


class DEIS(EpsMultistep):
    """tAB-DEIS: the linear part of the flow is solved exactly, and ε is a polynomial in time.

        z' = z + Σ_j ε_j ∫_s^s' Π_{i≠j} (t(r) - t_i)/(t_j - t_i) dr,        z = x/α, s = σ/α.

    Zhang and Chen, "Fast Sampling of Diffusion Models with Exponential Integrator" (2023), section 3. Their t is that
    of the linear variance-preserving schedule with β from 0.1 to 20, and so it is here as a function of s, whatever the
    schedule of the model: ½ (20 - 0.1) t² + 0.1 t = log(1 + s²). Its order is ``order``, with one evaluation a step.

    Args:
        steps: the number of steps.
        order: from 1, which is ``ddim``, to 3; none is 3. The first steps are of the order of the points there are.
    """

    def __init__(self, steps: int = 20, order: int | None = None) -> None:
        super().__init__(steps, chosen(order, 3, 3, steps))

    def coordinate(self, s: Tensor) -> Tensor:
        """Return t."""
        first, rise = 0.1, 19.9
        return (torch.sqrt(first**2 + 2 * rise * torch.log1p(s**2)) - first) / rise
