"""Timesteps of models that were trained on a table of noise levels."""

from typing import Literal

import torch
from torch import Tensor

from diffkit import DiffkitError
from diffkit.contracts.schedule import Schedule


class TableGrid:
    """Whole timesteps k of a table of T noise levels, k=0 at t=0 and k=T-1 at t=1, as other libraries pick them.

        trailing:  k = round(T - i T/steps) - 1         from the last one, in steps of T/steps
        leading:   k = (steps - 1 - i) ⌊T/steps⌋        to the first one: it never starts at pure noise
        linspace:  k = round((T - 1) (1 - i/(steps - 1)))       from the last to the first

    Lin et al., "Common Diffusion Noise Schedules and Sample Steps are Flawed" (2024), table 2. A model that was only
    ever told whole timesteps knows no others; one that is told λ has no need of this grid.

    Args:
        spacing: ``trailing``, ``leading`` or ``linspace``.
        T: the length of the table.
    """

    def __init__(self, spacing: Literal["trailing", "leading", "linspace"] = "trailing", T: int = 1000) -> None:
        if spacing not in ("trailing", "leading", "linspace"):
            raise DiffkitError(f"spacing={spacing} is not known; choose trailing, leading or linspace")
        if T < 2:
            raise DiffkitError(f"T={T} is not the length of a table; give 2 or more, such as T=1000")
        self.spacing, self.T = spacing, T

    def __call__(self, schedule: Schedule, steps: int) -> Tensor:
        """Return ``steps`` times, float64 on the host."""
        if steps > self.T:
            raise DiffkitError(f"a table of T={self.T} timesteps has not the {steps} steps asked for; give fewer steps")
        i = torch.arange(steps, dtype=torch.float64)
        if self.spacing == "trailing":
            k = (self.T - i * self.T / steps).round() - 1
        elif self.spacing == "leading":
            k = (steps - 1 - i) * (self.T // steps)
        else:
            k = ((self.T - 1) * (1 - i / max(1, steps - 1))).round()
        return k / (self.T - 1)
