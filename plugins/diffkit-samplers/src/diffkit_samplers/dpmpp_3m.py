"""DPM-Solver++(3M)."""

from collections.abc import Sequence

from torch import Tensor

from diffkit import Level
from diffkit_samplers.multistep import Multistep


class DPMpp3M(Multistep):
    """DPM-Solver++(3M): the linear part of the flow is solved exactly, and x_0 is a parabola in λ.

    With h = λ' - λ, D' and D'' the slope and the curvature of the parabola through three estimates,

        x' = (σ'/σ) x + α' ∫_0^h exp(u - h) (D + u D' + u²/2 D'') du.

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models" (2022), section 4.2,
    carried to three estimates. Code in circulation gives D'' half of this weight, which leaves order 2. Order 3 with
    one evaluation a step; the first two steps are of the order of the estimates there are. On the way to σ=0, where
    steps in λ grow without bound, the last but one looks at two estimates and the last ends at D.
    """

    def __init__(self, steps: int = 20) -> None:
        super().__init__(steps, order=3)

    def coordinate(self, lam: Tensor) -> Tensor:
        """Return λ."""
        return lam

    def orders(self, path: Sequence[Level]) -> list[int]:
        """Return how many estimates each step looks at: fewer on the last steps to σ=0."""
        return lower_at_the_end(super().orders(path), path)


def lower_at_the_end(orders: list[int], path: Sequence[Level]) -> list[int]:
    """Return ``orders`` with 1 for a step to σ=0, where λ is infinite, 2 for the one before, and so on."""
    n = len(orders)
    return orders if path[-1].sigma else [min(order, n - i) for i, order in enumerate(orders)]
