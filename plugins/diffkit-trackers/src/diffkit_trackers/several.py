"""Several trackers as one."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from diffkit import DiffkitError, build


class Several:
    """Tells several trackers everything: ``tracker=several tracker.names=[csv,tensorboard]``.

    Args:
        names: of trackers; in place of a name, a mapping of ``name`` and options: ``{name: mlflow, uri: sqlite:///mlflow.db}``.

    Raises:
        DiffkitError: where there are none, or one is there twice or cannot be built.
    """

    def __init__(self, names: Sequence[Any]) -> None:
        plain = [choice.get("name") if isinstance(choice, Mapping) else choice for choice in names]
        if not plain or len(set(plain)) < len(plain) or "several" in plain:
            raise DiffkitError(f"names={plain} are not different trackers; give some: tracker.names=[csv,tensorboard]")
        self.trackers = [build("tracker", choice) for choice in names]

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Start all of them."""
        for tracker in self.trackers:
            tracker.start(folder, config)

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Tell all of them."""
        for tracker in self.trackers:
            tracker.log(step, values)

    def sheet(self, step: int, path: Path) -> None:
        """Show it to all of them."""
        for tracker in self.trackers:
            tracker.sheet(step, path)

    def close(self) -> None:
        """Close all of them, also where one fails to."""
        with ExitStack() as closing:
            for tracker in reversed(self.trackers):
                closing.callback(tracker.close)
