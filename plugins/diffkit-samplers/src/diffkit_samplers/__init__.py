"""Solvers, the grids they step on, and guidance."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_samplers.ddim import DDIM
    from diffkit_samplers.ddpm import DDPM
    from diffkit_samplers.dpmpp_2m import DPMpp2M
    from diffkit_samplers.euler import Euler
    from diffkit_samplers.grids import KarrasGrid, LogLinearGrid, UniformGrid
    from diffkit_samplers.guidance import CFG, Unguided
    from diffkit_samplers.heun import Heun

__getattr__, __dir__ = lazily(
    __name__,
    {
        "CFG": "diffkit_samplers.guidance",
        "DDIM": "diffkit_samplers.ddim",
        "DDPM": "diffkit_samplers.ddpm",
        "DPMpp2M": "diffkit_samplers.dpmpp_2m",
        "Euler": "diffkit_samplers.euler",
        "Heun": "diffkit_samplers.heun",
        "KarrasGrid": "diffkit_samplers.grids",
        "LogLinearGrid": "diffkit_samplers.grids",
        "Unguided": "diffkit_samplers.guidance",
        "UniformGrid": "diffkit_samplers.grids",
    },
)
__all__ = [
    "CFG",
    "DDIM",
    "DDPM",
    "DPMpp2M",
    "Euler",
    "Heun",
    "KarrasGrid",
    "LogLinearGrid",
    "Unguided",
    "UniformGrid",
]
