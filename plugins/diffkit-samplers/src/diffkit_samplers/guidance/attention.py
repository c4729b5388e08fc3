"""What guidances need that perturb a network's attention: its layers, and which half of a batch is meant."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.guidance.contrast import Contrast, Pair
from diffkit_samplers.guidance.guided import Base, network_of


class PerturbedLayers(Contrast):
    """D_bad from the same network with some of its attention perturbed, both from one call on a doubled batch.

    Args:
        scale: 1 is the model as it is; 1 + s for the papers' s.
        layers: which of the network's attention layers, counted from 0; none is the one in the middle.
        base: a guidance that both estimates follow.
        spec: what the model sees.
    """

    name = ""
    """The name of the guidance, for sentences."""

    def __init__(
        self, scale: float, layers: list[int] | None = None, base: Base | None = None, spec: DataSpec | None = None
    ) -> None:
        super().__init__(scale, base, spec)
        self.layers = layers

    def inner(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that is asked for both estimates, once its network is known to have the layers."""
        self.chosen(denoiser)
        return super().inner(denoiser)

    def chosen(self, denoiser: Denoise) -> list[nn.Module]:
        """Return the layers to perturb.

        Raises:
            DiffkitError: where the network has none, or not these.
        """
        net: Any = network_of(denoiser)
        found: Sequence[nn.Module] = net.attentions() if hasattr(net, "attentions") else ()
        if not found:
            raise DiffkitError(
                f"guidance '{self.name}' perturbs attention, of which {type(net).__name__ if net else 'the model'} has "
                f"none; train one that has, such as net=dit, or choose guidance=none"
            )
        layers = [len(found) // 2] if self.layers is None else self.layers
        if not layers or not all(0 <= layer < len(found) for layer in layers):
            raise DiffkitError(
                f"layers={list(layers)} names attention that {type(net).__name__} does not have; its layers are 0 to "
                f"{len(found) - 1}"
            )
        return [found[layer] for layer in layers]

    def pair(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Pair:
        """Return D of the network as it is, and perturbed."""
        with self.perturbed(denoiser, len(x)):
            both = {name: torch.cat((value, value)) for name, value in cond.items()}
            good, bad = denoiser(torch.cat((x, x)), at, **both).chunk(2)
        return good, bad

    @contextmanager
    def perturbed(self, denoiser: Denoise, n: int) -> Iterator[None]:
        """Perturb the layers for the second ``n`` items of every 2 ``n`` of a batch."""
        handles = [self.hook(layer, n) for layer in self.chosen(denoiser)]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def hook(self, layer: nn.Module, n: int) -> Any:
        """Register what perturbs ``layer``, and return torch's handle to remove it by."""
        raise NotImplementedError(f"{type(self).__name__} perturbs nothing; define hook()")


def second_half(values: Tensor, n: int, change: Callable[[Tensor], Tensor]) -> Tensor:
    """Return ``values`` with ``change`` done to the second ``n`` items of every 2 ``n``.

    A guidance within may have repeated the doubled batch, so that it is not simply the second half.
    """
    parts = values.unflatten(0, (-1, 2, n))
    return torch.stack((parts[:, 0], change(parts[:, 1])), 1).flatten(0, 2)
