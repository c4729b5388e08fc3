"""Guidance that keeps the contrast of its estimates."""

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Rule
from diffkit_samplers.guidance.guided import Base

TINY = 1e-12


class Rescale(Rule):
    """The guided estimate brought back, by a share φ, to the standard deviation of the one that is not guided.

        D ← φ (std(D_good)/std(D)) D + (1 - φ) D,        std over all values of a sample

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2024), eq. 15 and 16, in x_0: there in
    the network's output, whose meaning depends on the prediction. Large scales over-expose; φ undoes that.

    Args:
        phi: φ, from 0 (guidance as it is) to 1.
        scale: the guidance's scale; none leaves it its own.
        base: the guidance: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self, phi: float = 0.7, scale: float | None = None, base: Base = "cfg", spec: DataSpec | None = None
    ) -> None:
        super().__init__(base, scale, spec)
        if not 0 <= phi <= 1:
            raise DiffkitError(f"phi={phi} is not a share; give a number from 0 to 1, such as phi=0.7")
        self.phi = phi

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_bad, rescaled, too."""
        good, bad = self.pair(denoiser, x, at, cond)
        return self.finish(bad, good)

    def finish(self, guided: Tensor, good: Tensor) -> Tensor:
        """Return the guided estimate, rescaled."""
        guided = super().finish(guided, good)
        wanted, there = (v.flatten(1).std(1, correction=0) + TINY for v in (good, guided))
        return guided * (self.phi * wanted / there + (1 - self.phi)).reshape(-1, *[1] * (guided.ndim - 1))
