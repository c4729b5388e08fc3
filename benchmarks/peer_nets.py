"""Networks of diffusers for nets.py, made as large as ours by their width."""

from collections.abc import Callable
from typing import Any

import torch
from diffusers import DiTTransformer2DModel, UNet2DModel
from torch import Tensor, nn

from diffkit import DataSpec

Peer = tuple[nn.Module, Callable[..., Tensor]]


def nearest(build: Callable[[int], nn.Module], widths: range, parameters: int) -> nn.Module:
    """Return, of the networks that ``build`` makes of ``widths``, the one with the nearest number of parameters."""

    def distance(width: int) -> int:
        with torch.device("meta"):
            return abs(sum(p.numel() for p in build(width).parameters()) - parameters)

    return build(min(widths, key=distance))


def unet(spec: DataSpec, parameters: int) -> Peer:
    """UNet2DModel of the layout of ours: four levels, one block a level, attention at 16x16 and 8x8."""

    def build(width: int) -> nn.Module:
        attentive: dict[str, Any] = {
            "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
            "up_block_types": ("UpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        }
        return UNet2DModel(
            sample_size=spec.shape[-1],
            in_channels=spec.channels,
            out_channels=spec.channels,
            block_out_channels=(width, 2 * width, 3 * width, 4 * width),
            layers_per_block=1,
            attention_head_dim=32,
            norm_num_groups=8,
            num_class_embeds=len(spec.labels) + 1,
            **attentive,
        )

    def call(net: nn.Module, x: Tensor, lam: Tensor, label: Tensor) -> Tensor:
        return net(x, lam, class_labels=label).sample

    return nearest(build, range(16, 129, 8), parameters), call


def dit(spec: DataSpec, parameters: int) -> Peer:
    """DiTTransformer2DModel of the layout of ours: six blocks of heads of 64, patches of 2x2."""

    def build(heads: int) -> nn.Module:
        return DiTTransformer2DModel(
            num_attention_heads=heads,
            attention_head_dim=64,
            in_channels=spec.channels,
            out_channels=spec.channels,
            num_layers=6,
            sample_size=spec.shape[-1],
            patch_size=2,
            num_embeds_ada_norm=len(spec.labels),
            norm_num_groups=1,
        )

    def call(net: nn.Module, x: Tensor, lam: Tensor, label: Tensor) -> Tensor:
        return net(x, timestep=lam, class_labels=label).sample

    return nearest(build, range(2, 13), parameters), call


PEERS: dict[str, Callable[[DataSpec, int], Peer]] = {"unet": unet, "dit": dit}
