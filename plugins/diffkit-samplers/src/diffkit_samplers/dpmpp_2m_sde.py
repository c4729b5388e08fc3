"""DPM-Solver++(2M) on the reverse SDE."""

from collections.abc import Callable, Sequence
from math import exp, expm1, sqrt
from typing import Any

import torch
from torch import Tensor

from diffkit import Level, Point, StepSampler
from diffkit_samplers.ancestral import not_negative, unknown_share


class DPMpp2MSDE(StepSampler):
    """The linear part of a reverse SDE is solved exactly, and x_0 extrapolated from the step before.

    With h = λ' - λ, r the step before over h, and n fresh noise,

        x' = (σ'/σ) exp(-η h) x + α' (1 - exp(-(1 + η) h)) D + σ' √(1 - exp(-2η h)) n,
        D  = x_0 + (x_0 - x_0 of the step before) / (2r).

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), section 5, for
    any η, as Crowson, k-diffusion (2022), ``sample_dpmpp_2m_sde`` has it. Order 2 in distribution; with η=0 it is
    ``dpmpp_2m``, and with η=1 its first step is ``ddpm``. One evaluation a step; the last step, to σ=0, is x_0.

    Args:
        steps: the number of steps.
        eta: η: 0 is the probability flow, 1 the reverse of the forward process.
    """

    history = 1

    def __init__(self, steps: int = 20, eta: float = 1.0) -> None:
        super().__init__(steps)
        not_negative(eta=eta)
        self.eta = eta

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        now: Level,
        then: Level,
        *,
        past: Sequence[Point],
        draw: Callable[[], Tensor],
        **_: Any,
    ) -> Tensor:
        """Return the sample at level ``then``."""
        if then.sigma == 0:
            return then.alpha * x0
        h, eta = then.lam - now.lam, self.eta
        gain = -then.alpha * expm1(-(1 + eta) * h)
        x = torch.mul(x, then.sigma / now.sigma * exp(-eta * h))
        if past:
            before, _, x0_before = past[-1]
            extra = gain * h / (2 * (now.lam - before.lam))
            x.add_(x0_before, alpha=-extra)
            gain += extra
        x.add_(x0, alpha=gain)
        return x.add_(draw(), alpha=then.sigma * sqrt(unknown_share(now, then, eta))) if eta else x
