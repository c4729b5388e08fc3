"""Progress of long work: a live bar in a terminal, a plain line now and then elsewhere."""

import sys
import time
from typing import Any

BAR_WIDTH = 30


class Progress:
    """Shows how far work is, how fast, and how long it will take; used as a context manager.

    Args:
        what: a word for the work, such as "train".
        total: the last step's number.
        start: the step that is already done.
        quiet: whether nothing is shown.
    """

    def __init__(self, what: str, total: int, start: int = 0, *, quiet: bool = False) -> None:
        self.what, self.total, self.start, self.quiet = what, total, start, quiet
        self._bar: Any = None
        self._task: Any = None
        self._began = time.monotonic()
        self._every = max(1, (total - start) // 10)
        self._next_line = start + self._every

    def __enter__(self) -> "Progress":
        if sys.stdout.isatty() and not self.quiet:
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(BAR_WIDTH),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[said]}"),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
            )
            self._bar.start()
            self._task = self._bar.add_task(self.what, total=self.total, completed=self.start, said="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def rate(self, step: int) -> float:
        """Return the steps a second since the beginning."""
        return (step - self.start) / max(time.monotonic() - self._began, 1e-9)

    def update(self, step: int, **values: float) -> None:
        """Show that ``step`` is done, with ``values``."""
        said = "  ".join([*(f"{name} {value:.4g}" for name, value in values.items()), f"{self.rate(step):.3g}/s"])
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=said)
        elif not self.quiet and (step >= self._next_line or step == self.total):
            left = (self.total - step) / max(self.rate(step), 1e-9)
            print(f"{self.what} {step}/{self.total}  {said}  {left:.0f} s left", flush=True)
            while self._next_line <= step:
                self._next_line += self._every

    def say(self, text: str) -> None:
        """Print a line, above the bar where there is one."""
        if self._bar is not None:
            self._bar.console.print(text, highlight=False, markup=False, soft_wrap=True)
        else:
            print(text, flush=True)
