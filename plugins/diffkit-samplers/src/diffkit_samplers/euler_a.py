"""Euler's method with ancestral noise."""

from diffkit_samplers.ddim import DDIM


class EulerA(DDIM):
    """Euler's method to less noise than asked for, and fresh noise that makes up for it.

    With s = σ/α and z = x/α the step goes from s by Euler's method to s_down, then adds noise of deviation s_up:

        s_up = η s' √(1 - s'²/s²),        s_down² = s'² - s_up²,        z' = x_0 + s_down (z - x_0)/s + s_up n.

    That is ``ddim`` with η, whose default is 0 rather than 1. Crowson, k-diffusion (2022), ``sample_euler_ancestral``;
    Song et al., "Denoising Diffusion Implicit Models" (2021), eq. 12 and 16. Order 1; with η=0 it is ``euler``, with
    η=1 ``ddpm`` of the small variance.

    Args:
        steps: the number of steps.
        eta: η, from 0 (no fresh noise) to 1 (as much as in ancestral sampling).
    """

    def __init__(self, steps: int = 50, eta: float = 1.0) -> None:
        super().__init__(steps, eta)
