"""Schedules with α² + σ² = 1, which λ alone gives."""

from abc import ABC, abstractmethod

import torch
from torch import Tensor


class Preserving(ABC):
    """α² = sigmoid(2λ), σ² = sigmoid(-2λ): a subclass gives λ and its inverse."""

    @abstractmethod
    def lam(self, t: Tensor) -> Tensor:
        """Return λ at times ``t``."""

    @abstractmethod
    def time(self, lam: Tensor) -> Tensor:
        """Return the times of ``lam``, in [0, 1] also where λ is beyond the ends."""

    def alpha(self, t: Tensor) -> Tensor:
        """Return α at times ``t``."""
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """Return σ at times ``t``."""
        return torch.sigmoid(-2 * self.lam(t)).sqrt()
