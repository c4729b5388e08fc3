"""The guard of a training: a step whose gradient is not finite, or far beyond the usual, is not taken."""

from collections.abc import Mapping

import torch
from torch import Tensor

USUAL = 0.02
"""The share of the newest norm in the usual one."""
SETTLED = 100
"""From how many steps on the usual norm is known."""


class Guard:
    """Judges steps by the norm of their gradient, on the device, so that nothing waits.

    Args:
        factor: how far beyond the usual norm, an exponential average, a step is left out; 0 leaves out those alone that
            are not finite.
        device: of the norms.

    Attributes:
        skipped: how many steps were left out.
        in_a_row: how many of them just now.
    """

    def __init__(self, factor: float, device: torch.device) -> None:
        self.factor = factor
        self.usual, self.seen, self.skipped, self.in_a_row = torch.zeros(4, device=device)

    def bad(self, norm: Tensor) -> Tensor:
        """Return 1.0 for a step not to be taken and 0.0 for another, of the shape of ``norm``: a scalar."""
        bad = ~norm.isfinite()
        if self.factor:
            bad |= (norm > self.factor * self.usual) & (self.seen >= SETTLED)
        share = 1 / (self.seen + 1).clamp(max=1 / USUAL)
        self.usual = torch.where(bad, self.usual, self.usual.lerp(norm, share))
        count = bad.float()
        self.seen, self.skipped = self.seen + 1 - count, self.skipped + count
        self.in_a_row = (self.in_a_row + 1) * count
        return count

    def state(self) -> dict[str, float]:
        """Return the counts and the usual norm."""
        return {name: getattr(self, name).item() for name in ("usual", "seen", "skipped", "in_a_row")}

    def load(self, state: Mapping[str, float]) -> None:
        """Take them over from :meth:`state`."""
        for name, value in state.items():
            setattr(self, name, torch.full_like(self.usual, value))
