"""SA-Solver, the stochastic Adams method."""

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit_samplers.ancestral import not_negative
from diffkit_samplers.orders import chosen
from diffkit_samplers.reverse_sde import ReverseSDE


class SASolver(ReverseSDE):
    """A predictor and a corrector of Adams's kind on a reverse SDE whose noise is τ times that of the forward process.

    With h = λ' - λ, D(u) the polynomial in λ through estimates at λ + u, and n fresh noise,

        x' = (σ'/σ) exp(-τ² h) x + α' (1 + τ²) ∫_0^h exp((1 + τ²) (u - h)) D(u) du + σ' √(1 - exp(-2τ² h)) n.

    The corrector takes the step again, with the same n, once the estimate at x' is known, which the next step needs
    anyway. Xue et al., "SA-Solver: Stochastic Adams Solver for Fast Sampling of Diffusion Models" (2023), algorithm 1
    for x_0. As there, τ is 0 outside an interval of noise levels; a step has the τ of its middle, in λ. Order 2 in
    distribution where τ>0. One evaluation a step; the last step, to σ=0, is x_0.

    Args:
        steps: the number of steps.
        tau: τ: 0 is the probability flow, 1 the reverse of the forward process.
        predictor_order: how many estimates the predictor looks at, 1 to 4; none is 3.
        corrector_order: how many the corrector looks at, that at x' included: 1 to 4, or 0 for no corrector;
            none is 4.
        sigma_min: the σ/α below which τ is 0.
        sigma_max: the σ/α above which τ is 0.
    """

    def __init__(
        self,
        steps: int = 20,
        tau: float = 1.0,
        predictor_order: int | None = None,
        corrector_order: int | None = None,
        sigma_min: float = 0.05,
        sigma_max: float = 50.0,
    ) -> None:
        super().__init__(
            steps,
            chosen(predictor_order, 3, 4, steps, "predictor_order"),
            chosen(corrector_order, 4, 4, steps, "corrector_order", least=0),
        )
        not_negative(tau=tau, sigma_min=sigma_min)
        if sigma_max < sigma_min:
            raise DiffkitError(
                f"sigma_min={sigma_min:g} and sigma_max={sigma_max:g} are not an interval of noise levels; give "
                f"sigma_min below sigma_max, such as sigma_min=0.05 sigma_max=50"
            )
        self.tau, self.sigma_min, self.sigma_max = tau, sigma_min, sigma_max

    def rate(self, lam: Tensor) -> Tensor:
        """Return 1 + τ²."""
        middle = torch.exp(-(lam[1:] + lam[:-1]) / 2)
        return 1 + self.tau**2 * ((middle >= self.sigma_min) & (middle <= self.sigma_max)).to(lam)
