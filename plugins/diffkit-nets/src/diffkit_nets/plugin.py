"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_networks() -> Iterable[Component]:
    """Register the networks."""
    yield Component("mlp", "diffkit_nets.mlp:MLP", "residual layers on the flattened data: for points and tiny items")
    yield Component("unet", "diffkit_nets.unet:UNet", "convolutions at several resolutions: a good first choice")
    yield Component("dit", "diffkit_nets.dit:DiT", "a transformer on patches")
