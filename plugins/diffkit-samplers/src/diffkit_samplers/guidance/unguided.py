"""No guidance."""

from diffkit.contracts.sampling import Denoise


class Unguided:
    """The denoiser as it is."""

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return ``denoiser``."""
        return denoiser
