"""Guidance away from a worse estimate, which is what most guidances are."""

from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.guided import Base, Guided, built, check_scale

Pair = tuple[Tensor, Tensor]


class Contrast:
    """D = D_bad + scale (D_good - D_bad): inherit and write :meth:`pair`.

    With ``scale=1`` it is D_good, the model as it is, and only that is evaluated.

    Args:
        scale: how far away from the worse estimate.
        base: a guidance that both estimates follow; none is the model itself.
        spec: what the model sees.
    """

    def __init__(self, scale: float, base: Base | None = None, spec: DataSpec | None = None) -> None:
        check_scale(scale)
        self.scale = scale
        self.base = None if base is None else built(base, spec)

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the guided denoiser."""
        return Guided(self.inner(denoiser), self.estimate)

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for both estimates."""
        return denoiser if self.base is None else self.base(denoiser)

    def strength(self, denoiser: Denoise, at: Level) -> float:
        """Return the scale at level ``at``."""
        return self.scale

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_good and D_bad."""
        raise NotImplementedError(f"{type(self).__name__} has no pair of estimates; define pair()")

    def better(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_good alone."""
        return denoiser(x, at, **cond)

    def plain(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate without this guidance."""
        return self.better(denoiser, x, at, cond)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_bad alone."""
        return self.pair(denoiser, x, at, cond)[1]

    def finish(self, guided: Tensor, good: Tensor) -> Tensor:
        """Return the guided estimate with whatever is done to it in the end."""
        return guided

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the guided estimate."""
        scale = self.strength(denoiser, at)
        if scale == 1:
            return self.better(denoiser, x, at, cond)
        if scale == 0:
            return self.worse(denoiser, x, at, cond)
        good, bad = self.pair(denoiser, x, at, cond)
        return self.finish(bad.lerp(good, scale), good)


class Rule(Contrast):
    """Another contrast, changed in when or how its two estimates are combined: inherit and override some of it.

    Args:
        base: the contrast: its name, a mapping of its name and options, or itself.
        scale: its scale; none leaves it its own.
        spec: what the model sees.
    """

    def __init__(self, base: Base = "cfg", scale: float | None = None, spec: DataSpec | None = None) -> None:
        contrast = built(base, spec, scale)
        if not isinstance(contrast, Contrast):
            raise DiffkitError(
                f"base={base!r} has no two estimates to combine; give one that has, such as base=cfg, and wrap this in "
                f"the other"
            )
        self.contrast = contrast

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for both estimates."""
        return self.contrast.inner(denoiser)

    def strength(self, denoiser: Denoise, at: Level) -> float:
        """Return the scale at level ``at``."""
        return self.contrast.strength(denoiser, at)

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_good and D_bad."""
        return self.contrast.pair(denoiser, x, at, cond)

    def better(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_good alone."""
        return self.contrast.better(denoiser, x, at, cond)

    def plain(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate without this guidance."""
        return self.contrast.plain(denoiser, x, at, cond)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_bad alone."""
        return self.contrast.worse(denoiser, x, at, cond)

    def finish(self, guided: Tensor, good: Tensor) -> Tensor:
        """Return the guided estimate with whatever is done to it in the end."""
        return self.contrast.finish(guided, good)
