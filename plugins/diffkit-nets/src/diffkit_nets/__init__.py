"""Networks for diffkit, each one implementation for 1-, 2- and 3-D data: a residual MLP, a UNet and a transformer."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_nets.condition import Condition
    from diffkit_nets.dit import DiT
    from diffkit_nets.mlp import MLP
    from diffkit_nets.unet import UNet

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Condition": "diffkit_nets.condition",
        "DiT": "diffkit_nets.dit",
        "MLP": "diffkit_nets.mlp",
        "UNet": "diffkit_nets.unet",
    },
)
__all__ = ["Condition", "DiT", "MLP", "UNet"]
