"""Weights & Biases."""

import sys
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from diffkit import DiffkitError
from diffkit_trackers.needs import needed
from diffkit_trackers.place import Place


class WandB:
    """Sends curves, sheets of samples and the config to Weights & Biases.

    The id is kept in ``wandb.json`` in the run's folder, so a run that goes on does so there, and steps it takes again
    are not sent twice. Besides what the run logs, only its packages and the
    machine's load are sent: no source, command line or host.

    Args:
        project: the project.
        entity: the user or team; your own where none is given.
        title: the run's name there; that of its folder where none is given.
        mode: ``offline`` keeps everything in ``wandb/`` in the run's folder, for ``wandb sync`` later; where none is
            given, the environment's ``WANDB_MODE`` says it.

    Raises:
        DiffkitError: for another mode, or where wandb is not installed.
    """

    def __init__(
        self,
        project: str = "diffkit",
        entity: str | None = None,
        title: str | None = None,
        mode: Literal["online", "offline"] | None = None,
    ) -> None:
        if mode not in (None, "online", "offline"):
            raise DiffkitError(f"mode={mode} is unknown; give online or offline")
        self.project, self.entity, self.title, self.mode = project, entity, title, mode
        self._wandb = needed("wandb")
        self._run: Any = None

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begin the run there, or go on with it."""
        self._place = Place(folder / "wandb.json")
        if self._place.id is None:
            self._place.begin(uuid.uuid4().hex[:12])
        quietly = self._wandb.Settings(console="off", disable_git=True, save_code=False, x_disable_meta=True, host="-")
        try:
            self._run = self._wandb.init(
                project=self.project,
                entity=self.entity,
                name=self.title or folder.name,
                mode=self.mode,
                id=self._place.id,
                resume="allow",
                dir=str(folder),
                config=dict(config),
                settings=quietly,
            )
        except (self._wandb.Error, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise DiffkitError(f"wandb did not start ({said}); type wandb login, or tracker.mode=offline") from error

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Send the values."""
        self._send(step, dict(values))

    def sheet(self, step: int, path: Path) -> None:
        """Send the picture."""
        self._send(step, {"samples": self._wandb.Image(str(path))})

    def close(self) -> None:
        """Send what is left, and say whether the run came to a good end."""
        if self._run is not None:
            self._run.finish(exit_code=1 if sys.exc_info()[0] else 0)

    def _send(self, step: int, values: dict[str, Any]) -> None:
        if self._place.is_new(step):
            self._run.log(values, step=step)
            self._place.told(step)
