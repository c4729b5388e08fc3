"""Classifier-free guidance."""

import torch
from torch import Tensor

from diffkit import DataSpec, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Contrast, Pair
from diffkit_samplers.guidance.guided import Base, spec_of
from diffkit_samplers.guidance.labels import check_label_given, check_labels, check_told, index_of, relabelled


class CFG(Contrast):
    """Classifier-free guidance: D = D_null + scale (D_told - D_null), both from one call on a doubled batch.

    Ho & Salimans, "Classifier-Free Diffusion Guidance" (2022); scale is 1 + w there. D_told is the model told the
    label and whatever other conditions it has, D_null the one told none of them: it needs a network that was trained
    without them too.

    Args:
        scale: 1 is the model as it is, 0 that of any label and condition, and more than 1 exaggerates what is
            typical of those asked for.
        negative: a label, by name or index, to move away from in place of the null label.
        base: a guidance that both estimates follow: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        scale: float = 1.5,
        negative: int | str | None = None,
        base: Base | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(scale, base, spec)
        check_told(spec, "cfg")
        if negative is not None:
            check_labels(spec, "cfg")
        self.negative = None if negative is None else index_of(negative, spec, "negative")

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for both estimates."""
        check_told(spec_of(denoiser), "cfg")
        return super().inner(denoiser)

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_told and D_null."""
        away = self._away(denoiser, cond)
        both = {name: torch.cat((away[name], value)) for name, value in cond.items()}
        bad, good = denoiser(torch.cat((x, x)), at, **both).chunk(2)
        return good, bad

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_null alone."""
        return denoiser(x, at, **self._away(denoiser, cond))

    def _away(self, denoiser: Denoise, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        if self.negative is not None or not cond:
            check_label_given(cond, "cfg")
        null = denoiser.null(cond)
        return null if self.negative is None else relabelled(null, self.negative)
