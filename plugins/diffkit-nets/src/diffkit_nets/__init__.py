"""Networks for diffkit, each one implementation for 1-, 2- and 3-D data: a residual MLP, UNets and a transformer."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_nets.condition import Condition
    from diffkit_nets.convnext import ConvNeXt
    from diffkit_nets.dit import DiT
    from diffkit_nets.edm2 import EDM2
    from diffkit_nets.inflation import inflate
    from diffkit_nets.mlp import MLP
    from diffkit_nets.unet import UNet
    from diffkit_nets.uvit import UViT

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Condition": "diffkit_nets.condition",
        "ConvNeXt": "diffkit_nets.convnext",
        "DiT": "diffkit_nets.dit",
        "EDM2": "diffkit_nets.edm2",
        "MLP": "diffkit_nets.mlp",
        "UNet": "diffkit_nets.unet",
        "UViT": "diffkit_nets.uvit",
        "inflate": "diffkit_nets.inflation",
    },
)
__all__ = ["MLP", "Condition", "ConvNeXt", "DiT", "EDM2", "UNet", "UViT", "inflate"]
