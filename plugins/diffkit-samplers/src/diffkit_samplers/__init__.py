"""Solvers, the grids they step on, and guidance."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_samplers.bosh3 import Bosh3
    from diffkit_samplers.ddim import DDIM
    from diffkit_samplers.ddpm import DDPM
    from diffkit_samplers.deis import DEIS
    from diffkit_samplers.dopri5 import Dopri5
    from diffkit_samplers.dpm_2 import DPM2
    from diffkit_samplers.dpmpp_2m import DPMpp2M
    from diffkit_samplers.dpmpp_2m_sde import DPMpp2MSDE
    from diffkit_samplers.dpmpp_2s import DPMpp2S
    from diffkit_samplers.dpmpp_3m import DPMpp3M
    from diffkit_samplers.dpmpp_3m_sde import DPMpp3MSDE
    from diffkit_samplers.dpmpp_3s import DPMpp3S
    from diffkit_samplers.dpmpp_sde import DPMppSDE
    from diffkit_samplers.edm import EDM
    from diffkit_samplers.er_sde import ERSDE
    from diffkit_samplers.euler import Euler
    from diffkit_samplers.euler_a import EulerA
    from diffkit_samplers.grids import KarrasGrid, LogLinearGrid, UniformGrid
    from diffkit_samplers.guidance import CFG, Unguided
    from diffkit_samplers.heun import Heun
    from diffkit_samplers.ipndm import IPNDM
    from diffkit_samplers.langevin import Langevin
    from diffkit_samplers.lms import LMS
    from diffkit_samplers.pndm import PNDM
    from diffkit_samplers.restart import Restart
    from diffkit_samplers.rk4 import RK4
    from diffkit_samplers.sa_solver import SASolver
    from diffkit_samplers.unipc import UniPC

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Bosh3": "diffkit_samplers.bosh3",
        "CFG": "diffkit_samplers.guidance",
        "DDIM": "diffkit_samplers.ddim",
        "DDPM": "diffkit_samplers.ddpm",
        "DEIS": "diffkit_samplers.deis",
        "DPM2": "diffkit_samplers.dpm_2",
        "DPMpp2M": "diffkit_samplers.dpmpp_2m",
        "DPMpp2MSDE": "diffkit_samplers.dpmpp_2m_sde",
        "DPMpp2S": "diffkit_samplers.dpmpp_2s",
        "DPMpp3M": "diffkit_samplers.dpmpp_3m",
        "DPMpp3MSDE": "diffkit_samplers.dpmpp_3m_sde",
        "DPMpp3S": "diffkit_samplers.dpmpp_3s",
        "DPMppSDE": "diffkit_samplers.dpmpp_sde",
        "Dopri5": "diffkit_samplers.dopri5",
        "EDM": "diffkit_samplers.edm",
        "ERSDE": "diffkit_samplers.er_sde",
        "Euler": "diffkit_samplers.euler",
        "EulerA": "diffkit_samplers.euler_a",
        "Heun": "diffkit_samplers.heun",
        "IPNDM": "diffkit_samplers.ipndm",
        "KarrasGrid": "diffkit_samplers.grids",
        "LMS": "diffkit_samplers.lms",
        "Langevin": "diffkit_samplers.langevin",
        "LogLinearGrid": "diffkit_samplers.grids",
        "PNDM": "diffkit_samplers.pndm",
        "RK4": "diffkit_samplers.rk4",
        "Restart": "diffkit_samplers.restart",
        "SASolver": "diffkit_samplers.sa_solver",
        "Unguided": "diffkit_samplers.guidance",
        "UniPC": "diffkit_samplers.unipc",
        "UniformGrid": "diffkit_samplers.grids",
    },
)
__all__ = [
    "Bosh3",
    "CFG",
    "DDIM",
    "DDPM",
    "DEIS",
    "DPM2",
    "DPMpp2M",
    "DPMpp2MSDE",
    "DPMpp2S",
    "DPMpp3M",
    "DPMpp3MSDE",
    "DPMpp3S",
    "DPMppSDE",
    "Dopri5",
    "EDM",
    "ERSDE",
    "Euler",
    "EulerA",
    "Heun",
    "IPNDM",
    "KarrasGrid",
    "LMS",
    "Langevin",
    "LogLinearGrid",
    "PNDM",
    "RK4",
    "Restart",
    "SASolver",
    "Unguided",
    "UniPC",
    "UniformGrid",
]
