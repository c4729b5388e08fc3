"""Estimates kept within the range of the data."""

from math import ceil, inf

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.guided import Base, Guided, built


class DynamicThreshold:
    """Values beyond a percentile s of each sample's own cut off, and the rest divided by s where s is beyond the data.

        s = max(bound, percentile of abs(D)),        D ← clip(D, -s, s) bound/s

    Saharia et al., "Photorealistic Text-to-Image Diffusion Models with Deep Language Understanding" (2022), section
    2.3.

    Args:
        percentile: the share of a sample's values that are not cut off.
        bound: the largest value of the data: 1 but for latents.
        scale: the guidance's scale; none leaves it its own.
        base: a guidance, whose estimate it is: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        percentile: float = 0.995,
        bound: float = 1.0,
        scale: float | None = None,
        base: Base = "cfg",
        spec: DataSpec | None = None,
    ) -> None:
        if not 0 < percentile <= 1:
            raise DiffkitError(f"percentile={percentile} is not a share; give above 0 to 1, such as percentile=0.995")
        if not 0 < bound < inf:
            raise DiffkitError(f"bound={bound} is not a largest value; give a number above 0, such as bound=1")
        self.percentile, self.bound, self.base = percentile, bound, built(base, spec, scale)

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the guided denoiser."""
        return Guided(self.base(denoiser), self._estimate)

    def _estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        x0 = denoiser(x, at, **cond)
        size = x0[0].numel()
        kept = x0.flatten(1).abs().kthvalue(ceil(self.percentile * size), dim=1).values
        limit = kept.clamp(min=self.bound).reshape(-1, *[1] * (x0.ndim - 1))
        return x0.clamp(-limit, limit) * (self.bound / limit)
