"""The schedule of rectified flow."""

from math import exp, log

import torch
from torch import Tensor

from diffkit_schedules.ends import check_ends, check_shift


class Flow:
    """α = 1 - σ: data and noise are joined by straight lines, walked at an even pace unless there is a shift k.

    Liu et al., "Flow Straight and Fast" (2022); Lipman et al., "Flow Matching for Generative Modeling" (2022). A shift
    above 1 spends more of the time at much noise, as pictures of higher resolution want: Esser et al., "Scaling
    Rectified Flow Transformers for High-Resolution Image Synthesis" (2024), eq. 23,

        σ = k v / (u + k v),    α = u / (u + k v),    λ = log u - log v - log k,    u = 1 - v,

    where v is uniform in t. Since v = sigmoid(-λ - log k), the ends of λ are those of v:

        v(t) = v₀ + t Δ,    v₀ = sigmoid(-lam_max - log k),    u(t) = u₁ + (1 - t) Δ,    u₁ = sigmoid(lam_min + log k).

    Args:
        lam_min: λ at t=1; a little signal is left there.
        lam_max: λ at t=0; a little noise is left there.
        shift: k, by how much a picture's side is longer than where no shift is right; 3 for Stable Diffusion 3 at 1024.
    """

    def __init__(self, lam_min: float = -10.0, lam_max: float = 10.0, shift: float = 1.0) -> None:
        check_ends(lam_min, lam_max)
        check_shift(shift)
        self.lam_min, self.lam_max, self.shift = lam_min, lam_max, shift
        self._v_0, self._u_1 = 1 / (1 + shift * exp(lam_max)), 1 / (1 + exp(-lam_min) / shift)
        self._delta = 1 - self._v_0 - self._u_1

    def _parts(self, t: Tensor) -> tuple[Tensor, Tensor]:
        """Return u and k v at times ``t``."""
        return self._u_1 + (1 - t) * self._delta, self.shift * (self._v_0 + t * self._delta)

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        data, noise = self._parts(t)
        return data / (data + noise)

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        data, noise = self._parts(t)
        return noise / (data + noise)

    def lam(self, t: Tensor) -> Tensor:
        """Return λ = log α - log σ at times ``t``."""
        data, noise = self._parts(t)
        return data.log() - noise.log()

    def time(self, lam: Tensor) -> Tensor:
        """Return t = (v - v₀) / Δ, in [0, 1] also where λ is beyond the ends."""
        return ((torch.sigmoid(-lam - log(self.shift)) - self._v_0) / self._delta).clamp(0, 1)
