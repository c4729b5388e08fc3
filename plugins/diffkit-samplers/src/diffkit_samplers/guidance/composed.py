"""Several labels at once."""

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Contrast, Pair
from diffkit_samplers.guidance.guided import Base, spec_of
from diffkit_samplers.guidance.labels import check_label_given, check_labels, index_of, relabelled


class Composed(Contrast):
    """The sample's label and others at once: D = D_null + scale ((D_label - D_null) + Σ_i w_i (D_i - D_null)).

    Liu et al., "Compositional Visual Generation with Composable Diffusion Models" (2022), eq. 11 and 12: scores add
    up as those of p(x) Π_i (p(x | i)/p(x))^w_i, "all of them" for positive weights and "but not" for negative ones. One
    call on a batch of 2 + k times the size for k labels.

    Args:
        labels: the other labels, by name or index.
        weights: w_i of each.
        scale: the weight of the whole; 1 is the product above with the sample's own label at weight 1.
        base: a guidance that all estimates follow: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    def __init__(
        self,
        labels: list[int | str],
        weights: list[float],
        scale: float = 1.0,
        base: Base | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(scale, base, spec)
        check_labels(spec, "composed")
        if not labels or len(labels) != len(weights):
            raise DiffkitError(
                f"labels={list(labels)} and weights={list(weights)} do not fit; give a weight for each of one or more "
                f"labels, such as guidance.labels=[5] guidance.weights=[1]"
            )
        self.labels, self.weights = [index_of(label, spec, "labels") for label in labels], weights

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for all estimates."""
        check_labels(spec_of(denoiser), "composed")
        return super().inner(denoiser)

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D_label + Σ_i w_i (D_i - D_null), and D_null."""
        check_label_given(cond, "composed")
        conds = [denoiser.null(cond), cond, *(relabelled(cond, label) for label in self.labels)]
        joined = {name: torch.cat([one[name] for one in conds]) for name in cond}
        null, good, *others = denoiser(torch.cat([x] * len(conds)), at, **joined).chunk(len(conds))
        for other, weight in zip(others, self.weights, strict=True):
            good = torch.add(good, other - null, alpha=weight)
        return good, null

    def better(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the composition at scale 1."""
        return self.pair(denoiser, x, at, cond)[0]

    def plain(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate for the sample's own label alone."""
        return denoiser(x, at, **cond)

    def worse(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return D_null alone."""
        return denoiser(x, at, **denoiser.null(cond))
