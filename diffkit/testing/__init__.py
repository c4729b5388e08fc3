"""The conformance kit: the checks that first-party plugins pass, for everyone's.

A plugin's test says ``check_schedule(MySchedule())``; a broken promise raises ``AssertionError`` that says which one.
"""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit.testing.mixture import GaussianMixture, MixtureDenoiser
    from diffkit.testing.modality import check_modality
    from diffkit.testing.network import check_network
    from diffkit.testing.sampler import check_sampler
    from diffkit.testing.schedule import check_schedule

__getattr__, __dir__ = lazily(
    __name__,
    {
        "GaussianMixture": "diffkit.testing.mixture",
        "MixtureDenoiser": "diffkit.testing.mixture",
        "check_modality": "diffkit.testing.modality",
        "check_network": "diffkit.testing.network",
        "check_sampler": "diffkit.testing.sampler",
        "check_schedule": "diffkit.testing.schedule",
    },
)
__all__ = ["GaussianMixture", "MixtureDenoiser", "check_modality", "check_network", "check_sampler", "check_schedule"]
