"""A network for clips from one for pictures."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DiffkitError
from diffkit_nets.levels import level_shapes


@torch.no_grad()
def inflate(net: nn.Module, pictures: Mapping[str, Tensor]) -> None:
    """Give a fresh network for clips the weights of one for their frames.

    It then says of a clip of equal frames exactly what the other says of the frame, and with ``temporal=factorised`` of
    any clip what it says of each: kernels see the frame itself (the rest of them starts as zero) and what mixes frames
    starts as the identity. Carreira & Zisserman, "Quo Vadis, Action Recognition?" (2017), spread a kernel over time
    instead, which is not exact at the ends of a clip, where it sees zeros.

    Args:
        net: a fresh network for clips, such as a :class:`~diffkit_nets.UNet`, or a :class:`~diffkit_nets.DiT` with
            ``temporal=factorised``, of the options that the network for pictures has.
        pictures: the state dict of a network for pictures of the shape of a frame.

    Raises:
        DiffkitError: where the networks do not correspond.
    """
    spec: Any = getattr(net, "spec", None)
    levels: Any = getattr(net, "levels", None)
    apart = getattr(net, "apart", False)
    if spec is None or spec.rank != 3 or not (levels or apart):
        raise DiffkitError(
            "only a network for clips that convolves, or sees frames apart, can start from one for pictures; choose "
            "net=unet, or net=dit net.temporal=factorised, and 3-D data"
        )
    if not apart:
        shapes = levels.shapes
        frames = level_shapes(shapes[0][1:], [1] * len(shapes))
        if [shape[1:] for shape in shapes] != frames or levels.patch[0] > 1:
            raise DiffkitError(
                "the levels of the network for clips do not have the shapes that those of pictures have, since clips "
                "are halved along time, too; choose temporal=factorised, or clips of fewer frames"
            )
    state = net.state_dict()
    found = {name: _inflated(name, value, state.get(name)) for name, value in pictures.items()}
    left = [name for name in state if name not in found and "across" not in name.split(".")]
    if left:
        raise DiffkitError(f"the network for pictures has no {left[0]}; build both with the same options")
    net.load_state_dict({**state, **found})


def _inflated(name: str, value: Tensor, target: Tensor | None) -> Tensor:
    if target is not None and value.shape == target.shape:
        return value
    if target is None or target.ndim != 5 or value.shape != (*target.shape[:2], *target.shape[3:]):
        raise DiffkitError(
            f"the network for clips has no {name} to take the one of pictures, {' x '.join(map(str, value.shape))}; "
            f"build both with the same options"
        )
    kernel = torch.zeros_like(target)
    kernel[:, :, target.shape[2] // 2] = value
    return kernel
