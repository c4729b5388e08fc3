"""Noise schedules for diffkit: the usual ones, tables, one that is learned, and wrappers that change another."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_schedules.cauchy import Cauchy
    from diffkit_schedules.clipped import Clipped
    from diffkit_schedules.cosine import Cosine
    from diffkit_schedules.edm import EDM
    from diffkit_schedules.flow import Flow
    from diffkit_schedules.laplace import Laplace
    from diffkit_schedules.learned import Learned
    from diffkit_schedules.linear import Linear
    from diffkit_schedules.scaled_linear import ScaledLinear
    from diffkit_schedules.shifted import Shifted
    from diffkit_schedules.sigmoid import Sigmoid
    from diffkit_schedules.tables import LinearTable, ScaledLinearTable
    from diffkit_schedules.tabulated import Tabulated
    from diffkit_schedules.ve import VE
    from diffkit_schedules.vp import VP
    from diffkit_schedules.zero_snr import ZeroSNR

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Cauchy": "diffkit_schedules.cauchy",
        "Clipped": "diffkit_schedules.clipped",
        "Cosine": "diffkit_schedules.cosine",
        "EDM": "diffkit_schedules.edm",
        "Flow": "diffkit_schedules.flow",
        "Laplace": "diffkit_schedules.laplace",
        "Learned": "diffkit_schedules.learned",
        "Linear": "diffkit_schedules.linear",
        "LinearTable": "diffkit_schedules.tables",
        "ScaledLinear": "diffkit_schedules.scaled_linear",
        "ScaledLinearTable": "diffkit_schedules.tables",
        "Shifted": "diffkit_schedules.shifted",
        "Sigmoid": "diffkit_schedules.sigmoid",
        "Tabulated": "diffkit_schedules.tabulated",
        "VE": "diffkit_schedules.ve",
        "VP": "diffkit_schedules.vp",
        "ZeroSNR": "diffkit_schedules.zero_snr",
    },
)
__all__ = [
    "Cauchy",
    "Clipped",
    "Cosine",
    "EDM",
    "Flow",
    "Laplace",
    "Learned",
    "Linear",
    "LinearTable",
    "ScaledLinear",
    "ScaledLinearTable",
    "Shifted",
    "Sigmoid",
    "Tabulated",
    "VE",
    "VP",
    "ZeroSNR",
]
