"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_networks() -> Iterable[Component]:
    """Register the networks."""
    yield Component("mlp", "diffkit_nets.mlp:MLP", "residual layers on the flattened data: for points and tiny items")
    yield Component("unet", "diffkit_nets.unet:UNet", "convolutions at several resolutions: a good first choice")
    yield Component("edm2", "diffkit_nets.edm2:EDM2", "a UNet that keeps the magnitude of features and weights")
    yield Component("convnext", "diffkit_nets.convnext:ConvNeXt", "a UNet without attention: depthwise kernels of 7")
    yield Component("dit", "diffkit_nets.dit:DiT", "a transformer on patches")
    yield Component("uvit", "diffkit_nets.uvit:UViT", "a transformer with long skips, to which everything is a token")
