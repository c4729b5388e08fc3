"""Perturbed-attention guidance."""

from typing import Any

from torch import Tensor, nn

from diffkit import DataSpec
from diffkit_samplers.guidance.attention import PerturbedLayers, second_half
from diffkit_samplers.guidance.guided import Base


class PerturbedAttention(PerturbedLayers):
    """Away from the model whose positions see only themselves: softmax(q kᵀ) becomes the identity in some layers.

        D = D_bad + scale (D - D_bad),        D_bad with v in place of softmax(q kᵀ/√d) v

    Ahn et al., "Self-Rectifying Diffusion Sampling with Perturbed-Attention Guidance" (2024), eq. 15 and 16; scale is
    1 + s there. It needs no labels, but a network that says where it attends
    (:class:`~diffkit.contracts.network.Attentive`).

    Args:
        scale: 1 is the model as it is.
        layers: which of the network's attention layers, counted from 0; none is the one in the middle.
        base: a guidance that both estimates follow: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    name = "perturbed_attention"

    def __init__(
        self,
        scale: float = 2.0,
        layers: list[int] | None = None,
        base: Base | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(scale, layers, base, spec)

    def hook(self, layer: nn.Module, n: int) -> Any:
        """Register what hands v through."""

        def through(_: nn.Module, given: tuple[Tensor, ...], gathered: Tensor) -> Tensor:
            values = given[2].unflatten(0, (-1, 2, n))[:, 1]
            return second_half(gathered, n, lambda _: values)

        return layer.register_forward_hook(through)
