"""Smoothed-energy guidance."""

from math import inf, isnan, prod
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError
from diffkit_samplers.guidance.attention import PerturbedLayers, second_half
from diffkit_samplers.guidance.guided import Base


class SmoothedEnergy(PerturbedLayers):
    """Away from the model whose attention is blurred: its queries, and with them q kᵀ, by a Gaussian in space.

        D = D_bad + scale (D - D_bad),        D_bad with G q in place of q

    Hong, "Smoothed Energy Guidance: Guiding Diffusion Models with Reduced Energy Curvature of Attention" (2024), eq. 8
    to 10; scale is 1 + γ there. It needs no labels, but a network that says where it attends
    (:class:`~diffkit.contracts.network.Attentive`).

    Args:
        scale: 1 is the model as it is.
        blur: the standard deviation of the Gaussian G, in positions; none is without bound, which is the mean of all.
        layers: which of the network's attention layers, counted from 0; none is the one in the middle.
        base: a guidance that both estimates follow: its name, a mapping of its name and options, or itself.
        spec: what the model sees.
    """

    name = "smoothed_energy"

    def __init__(
        self,
        scale: float = 3.0,
        blur: float | None = None,
        layers: list[int] | None = None,
        base: Base | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__(scale, layers, base, spec)
        self.blur = inf if blur is None else blur
        if isnan(self.blur) or self.blur <= 0:
            raise DiffkitError(f"blur={blur} is not a width in positions; give a number above 0, or none for the mean")
        self._kernels: dict[tuple[object, ...], list[Tensor]] = {}

    def hook(self, layer: Any, n: int) -> Any:
        """Register what blurs the queries."""

        def blurred(_: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            q, *rest = given
            return second_half(q, n, lambda q: self._blurred(q, layer.shape)), *rest

        return layer.register_forward_pre_hook(blurred)

    def _blurred(self, q: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return ``q`` ``(…, positions, features)`` blurred along each axis of ``shape``; tokens that follow stay."""
        q, tokens = q[..., : prod(shape), :], q[..., prod(shape) :, :]
        if tokens.shape[-2]:
            return torch.cat((self._blurred(q, shape), tokens), -2)
        if self.blur == inf:
            return q.mean(-2, keepdim=True).expand_as(q)
        key = (shape, q.device, q.dtype)
        if key not in self._kernels:
            self._kernels[key] = [gaussian(side, self.blur).to(q) for side in shape]
        grid = q.unflatten(-2, shape)
        for axis, kernel in enumerate(self._kernels[key]):
            grid = torch.tensordot(kernel, grid, dims=([1], [q.ndim - 2 + axis])).movedim(0, q.ndim - 2 + axis)
        return grid.reshape(q.shape)


def gaussian(side: int, width: float) -> Tensor:
    """Return the matrix ``(side, side)`` that blurs an axis; each row is a Gaussian that sums to 1 within it."""
    place = torch.arange(side, dtype=torch.float64)
    return (-((place[:, None] - place) ** 2) / (2 * width**2)).softmax(1)
