"""Guidance away from a weaker version of the model."""

from torch import Tensor, nn

import diffkit
from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise, innermost, likewise
from diffkit_samplers.guidance.contrast import Contrast, Pair
from diffkit_samplers.guidance.guided import spec_of


class Autoguidance(Contrast):
    """D = D_weak + scale (D - D_weak), with D_weak from a model of the same data that is worse for the same reasons.

    Karras et al., "Guiding a Diffusion Model with a Bad Version of Itself" (2024), eq. 4: a smaller network, or one
    that was trained for less long, such as an earlier checkpoint of the same run. It needs no labels. The two may
    differ in network, schedule and prediction. An evaluation of the weak model counts as one of the model.

    Args:
        run: the weak model: the folder of its run, or, from Python, a :class:`~diffkit.Denoiser`.
        scale: 1 is the model as it is.
        step: of which checkpoint of that run; the newest where none is given.
        spec: what the model sees.
    """

    def __init__(
        self, run: str | Denoise, scale: float = 2.0, step: int | None = None, spec: DataSpec | None = None
    ) -> None:
        super().__init__(scale)
        if step is not None and not isinstance(run, str):
            raise DiffkitError(f"step={step} names a checkpoint of a run, but run is a denoiser; give the run's folder")
        self.run, self.step = run, step

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return ``denoiser``, once the weak model is there and known to be one of the same data."""
        if isinstance(self.run, str):
            self.run = diffkit.load(self.run, "device=cpu", step=self.step).denoiser.eval()
        own, other = spec_of(denoiser), spec_of(self.run)
        if own is not None and other is not None and _what(own) != _what(other):
            raise DiffkitError(
                f"autoguidance needs a second model of the same data, but the model sees {_said(own)} and the weak one "
                f"{_said(other)}; give the run of a weaker model of the same data"
            )
        _follow(self.run, innermost(denoiser))
        return denoiser

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D and D_weak."""
        return denoiser(x, at, **cond), self.worse(denoiser, x, at, cond)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_weak alone."""
        strong = innermost(denoiser)
        if hasattr(strong, "items"):
            strong.evaluations += 1
            strong.items += len(x)
        return likewise(denoiser, self.run)(x, at, **cond)


def _what(spec: DataSpec) -> tuple[object, ...]:
    return spec.channels, spec.shape, spec.labels, spec.conditions


def _said(spec: DataSpec) -> str:
    conditions = "".join(f" and {one.name}" for one in spec.conditions)
    return f"{spec.channels} x {' x '.join(map(str, spec.shape))} with {len(spec.labels)} labels{conditions}"


def _follow(weak: object, strong: object) -> None:
    """Move the weak model to where the strong one is."""
    if isinstance(weak, nn.Module) and isinstance(strong, nn.Module):
        for parameter in strong.parameters():
            weak.to(parameter.device)
            return
