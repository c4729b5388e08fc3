"""Noise schedules for diffkit: DDPM's linear, the cosine, rectified flow's straight line, and EDM's."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_schedules.cosine import Cosine
    from diffkit_schedules.edm import EDM
    from diffkit_schedules.flow import Flow
    from diffkit_schedules.linear import Linear

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Cosine": "diffkit_schedules.cosine",
        "EDM": "diffkit_schedules.edm",
        "Flow": "diffkit_schedules.flow",
        "Linear": "diffkit_schedules.linear",
    },
)
__all__ = ["Cosine", "EDM", "Flow", "Linear"]
