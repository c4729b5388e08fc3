"""Diffusion of tokens and small integers, with diffkit's schedules, grids and streams."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_discrete.absorbing import AbsorbingProcess
    from diffkit_discrete.ancestral import AncestralSampler, KeepGrid
    from diffkit_discrete.bound import elbo
    from diffkit_discrete.chain import ChainNet, MarkovChain
    from diffkit_discrete.contracts import Process, TokenDenoise, TokenNetwork
    from diffkit_discrete.reveal import RevealSampler
    from diffkit_discrete.tokens import DiscreteDenoiser
    from diffkit_discrete.uniform import UniformProcess

__getattr__, __dir__ = lazily(
    __name__,
    {
        "AbsorbingProcess": "diffkit_discrete.absorbing",
        "AncestralSampler": "diffkit_discrete.ancestral",
        "ChainNet": "diffkit_discrete.chain",
        "DiscreteDenoiser": "diffkit_discrete.tokens",
        "KeepGrid": "diffkit_discrete.ancestral",
        "MarkovChain": "diffkit_discrete.chain",
        "Process": "diffkit_discrete.contracts",
        "RevealSampler": "diffkit_discrete.reveal",
        "TokenDenoise": "diffkit_discrete.contracts",
        "TokenNetwork": "diffkit_discrete.contracts",
        "UniformProcess": "diffkit_discrete.uniform",
        "elbo": "diffkit_discrete.bound",
    },
)
__all__ = [
    "AbsorbingProcess",
    "AncestralSampler",
    "ChainNet",
    "DiscreteDenoiser",
    "KeepGrid",
    "MarkovChain",
    "Process",
    "RevealSampler",
    "TokenDenoise",
    "TokenNetwork",
    "UniformProcess",
    "elbo",
]
