"""Solvers, the grids they step on, and guidance."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_samplers.bosh3 import Bosh3
    from diffkit_samplers.calibration import Calibration, calibrate
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
    from diffkit_samplers.exp_adams import ExpAdams
    from diffkit_samplers.grids.beta import BetaGrid
    from diffkit_samplers.grids.explicit import ExplicitGrid
    from diffkit_samplers.grids.karras import KarrasGrid
    from diffkit_samplers.grids.loglinear import LogLinearGrid
    from diffkit_samplers.grids.quadratic import QuadraticGrid
    from diffkit_samplers.grids.rational import RationalGrid
    from diffkit_samplers.grids.table import TableGrid
    from diffkit_samplers.grids.uniform import UniformGrid
    from diffkit_samplers.grids.uniform_alpha import UniformAlphaGrid
    from diffkit_samplers.guidance.apg import APG
    from diffkit_samplers.guidance.autoguidance import Autoguidance
    from diffkit_samplers.guidance.cfg import CFG
    from diffkit_samplers.guidance.cfg_pp import CFGpp
    from diffkit_samplers.guidance.classifier import Classifier
    from diffkit_samplers.guidance.composed import Composed
    from diffkit_samplers.guidance.dynamic_threshold import DynamicThreshold
    from diffkit_samplers.guidance.interval import Interval
    from diffkit_samplers.guidance.perturbed_attention import PerturbedAttention
    from diffkit_samplers.guidance.rescale import Rescale
    from diffkit_samplers.guidance.smoothed_energy import SmoothedEnergy
    from diffkit_samplers.guidance.unguided import Unguided
    from diffkit_samplers.guidance.zero_init import ZeroInit
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
        "APG": "diffkit_samplers.guidance.apg",
        "Autoguidance": "diffkit_samplers.guidance.autoguidance",
        "BetaGrid": "diffkit_samplers.grids.beta",
        "Bosh3": "diffkit_samplers.bosh3",
        "CFG": "diffkit_samplers.guidance.cfg",
        "CFGpp": "diffkit_samplers.guidance.cfg_pp",
        "Calibration": "diffkit_samplers.calibration",
        "Classifier": "diffkit_samplers.guidance.classifier",
        "Composed": "diffkit_samplers.guidance.composed",
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
        "DynamicThreshold": "diffkit_samplers.guidance.dynamic_threshold",
        "EDM": "diffkit_samplers.edm",
        "ERSDE": "diffkit_samplers.er_sde",
        "Euler": "diffkit_samplers.euler",
        "EulerA": "diffkit_samplers.euler_a",
        "ExpAdams": "diffkit_samplers.exp_adams",
        "ExplicitGrid": "diffkit_samplers.grids.explicit",
        "Heun": "diffkit_samplers.heun",
        "IPNDM": "diffkit_samplers.ipndm",
        "Interval": "diffkit_samplers.guidance.interval",
        "KarrasGrid": "diffkit_samplers.grids.karras",
        "LMS": "diffkit_samplers.lms",
        "Langevin": "diffkit_samplers.langevin",
        "LogLinearGrid": "diffkit_samplers.grids.loglinear",
        "PNDM": "diffkit_samplers.pndm",
        "PerturbedAttention": "diffkit_samplers.guidance.perturbed_attention",
        "QuadraticGrid": "diffkit_samplers.grids.quadratic",
        "RK4": "diffkit_samplers.rk4",
        "RationalGrid": "diffkit_samplers.grids.rational",
        "Rescale": "diffkit_samplers.guidance.rescale",
        "Restart": "diffkit_samplers.restart",
        "SASolver": "diffkit_samplers.sa_solver",
        "SmoothedEnergy": "diffkit_samplers.guidance.smoothed_energy",
        "TableGrid": "diffkit_samplers.grids.table",
        "Unguided": "diffkit_samplers.guidance.unguided",
        "UniPC": "diffkit_samplers.unipc",
        "UniformAlphaGrid": "diffkit_samplers.grids.uniform_alpha",
        "UniformGrid": "diffkit_samplers.grids.uniform",
        "ZeroInit": "diffkit_samplers.guidance.zero_init",
        "calibrate": "diffkit_samplers.calibration",
    },
)
__all__ = [
    "APG",
    "Autoguidance",
    "BetaGrid",
    "Bosh3",
    "CFG",
    "CFGpp",
    "Calibration",
    "Classifier",
    "Composed",
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
    "DynamicThreshold",
    "EDM",
    "ERSDE",
    "Euler",
    "EulerA",
    "ExpAdams",
    "ExplicitGrid",
    "Heun",
    "IPNDM",
    "Interval",
    "KarrasGrid",
    "LMS",
    "Langevin",
    "LogLinearGrid",
    "PNDM",
    "PerturbedAttention",
    "QuadraticGrid",
    "RK4",
    "RationalGrid",
    "Rescale",
    "Restart",
    "SASolver",
    "SmoothedEnergy",
    "TableGrid",
    "Unguided",
    "UniPC",
    "UniformAlphaGrid",
    "UniformGrid",
    "ZeroInit",
    "calibrate",
]
