"""Stopping when there is nothing left to gain."""

from collections.abc import Mapping
from math import inf

from diffkit import DiffkitError
from diffkit_training.rate import check


class Patience:
    """Ends a training when the smoothed value has not improved for a while.

    The loss of one batch says little, since its noise levels are random: so it is averaged exponentially over
    ``smoothing`` logs, and judged from there on; ``val_loss``, which always has the same noise, may do with a
    ``smoothing`` of 1. A run that goes on starts counting anew.

    Args:
        steps: how many steps without an improvement end the training.
        value: the name of the logged value that should fall.
        smoothing: over how many logs it is averaged.
        least: the relative improvement that counts as one.

    Raises:
        DiffkitError: where an option is out of range, or no such value is logged (``val_loss``: within ``steps``).
    """

    def __init__(self, steps: int = 2000, value: str = "loss", smoothing: float = 20.0, least: float = 0.001) -> None:
        check(steps >= 1, "steps", steps, "1 or more")
        check(smoothing >= 1, "smoothing", smoothing, "1 or more logs")
        check(0 <= least < 1, "least", least, "0 to below 1")
        self.steps, self.value, self.smoothing, self.least = steps, value, smoothing, least
        self._smoothed, self._logs = 0.0, 0
        self._best, self._best_step, self._first = inf, 0, inf

    def after_log(self, step: int, values: Mapping[str, float]) -> bool:
        """Return whether ``steps`` steps have passed without an improvement."""
        self._first = min(self._first, step)
        if self.value not in values:
            if self._logs or (self.value.startswith("val_loss") and step - self._first < self.steps):
                return False  # the losses of training and of validation are logged each in its own time
            raise DiffkitError(
                f"value={self.value} is not logged; choose one of {', '.join(sorted(values))}, or val_loss with "
                f"train.validate_every"
            )
        self._logs += 1
        self._smoothed += (values[self.value] - self._smoothed) / min(self._logs, self.smoothing)
        if self._logs <= self.smoothing or self._smoothed < self._best - self.least * abs(self._best):
            self._best, self._best_step = self._smoothed, step
        return step - self._best_step >= self.steps
