"""The learning rate by step."""

from dataclasses import dataclass
from math import cos, isfinite, pi, sqrt
from typing import Literal, get_args

from diffkit import DiffkitError

Decay = Literal["cosine", "linear", "inverse_sqrt", "wsd", "constant"]


@dataclass
class Rate:
    """A learning rate that rises to ``lr``, holds and decays; optimizers inherit it and add options of their own.

    ``inverse_sqrt`` (Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models", 2024) needs no
    last step, so a run may go on for as long as it gains. Nor does ``wsd``, warm-up, stable, decay (Hu et al.,
    "MiniCPM", 2024), before its cooldown, which has the shape 1 - √ of Hägele et al., "Scaling Laws and Compute-Optimal
    Training Beyond Fixed Training Durations" (2024).

    Attributes:
        lr: the learning rate at its peak.
        warmup: the steps of a linear rise to the peak; the first is already taken at ``lr / warmup``.
        decay: from the peak to 0 at the last step by half a ``cosine``, or along a line (``linear``); like the inverse
            root of the step (``inverse_sqrt``); not at all but for the cooldown (``wsd``, ``constant``).
        hold: the steps at the peak before the decay sets in.
        cooldown: the last steps, over which the rate falls to 0 besides; where 0, a fifth of all for ``wsd``.

    Raises:
        DiffkitError: where an option is out of range.
    """

    lr: float = 1e-3
    warmup: int = 50
    decay: Decay = "cosine"
    hold: int = 0
    cooldown: int = 0

    def __post_init__(self) -> None:
        check(self.lr > 0 and isfinite(self.lr), "lr", self.lr, "a number above 0")
        for name in ("warmup", "hold", "cooldown"):
            check(getattr(self, name) >= 0, name, getattr(self, name), "0 or more steps")
        known = get_args(Decay)
        check(self.decay in known, "decay", self.decay, f"{', '.join(known[:-1])} or {known[-1]}")

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step ``step`` (from 0) of ``steps``."""
        rise = min((step + 1) / self.warmup, 1.0) if self.warmup else 1.0
        return self.lr * rise * self._decayed(step, steps) * self._cooled(step, steps)

    def _decayed(self, step: int, steps: int) -> float:
        start = self.warmup + self.hold
        if self.decay == "inverse_sqrt":
            return 1 / sqrt(max(step / max(start, 1), 1.0))
        done = min(max(step - start, 0) / max(1, steps - start), 1.0)
        return {"cosine": (1 + cos(pi * done)) / 2, "linear": 1 - done}.get(self.decay, 1.0)

    def _cooled(self, step: int, steps: int) -> float:
        length = self.cooldown or (steps // 5 if self.decay == "wsd" else 0)
        into = step - (steps - length)
        return 1 - sqrt(min(into / length, 1.0)) if length and into > 0 else 1.0


def check(fits: bool, name: str, value: object, allowed: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` that says what option ``name`` may be, unless it ``fits``."""
    if not fits:
        raise DiffkitError(f"{name}={value} is out of range; give {allowed}")
