"""MLflow."""

import re
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from diffkit import DiffkitError
from diffkit_trackers.needs import needed
from diffkit_trackers.place import Place

LONGEST = 500
"""How many characters of an option MLflow keeps in all of its versions; config.json beside it has them whole."""
AT_ONCE = 100
"""How many options MLflow takes in one request."""


class MLflow:
    """Logs curves, sheets of samples and the config to MLflow.

    The id is kept in ``mlflow.json`` in the run's folder, so a run that goes on does so there, and steps it takes again
    are not logged twice.

    Args:
        uri: the store: a server's address, or ``sqlite:///mlflow.db``; MLflow's own choice, such as
            ``MLFLOW_TRACKING_URI`` of the environment, where none is given.
        experiment: the name of the experiment.

    Raises:
        DiffkitError: where MLflow is not installed.
    """

    def __init__(self, uri: str | None = None, experiment: str = "diffkit") -> None:
        self.uri, self.experiment = uri, experiment
        self._mlflow = needed("mlflow")
        self._client: Any = None

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Begin the run there, or go on with it."""
        self._place = Place(folder / "mlflow.json")
        try:
            client = self._mlflow.MlflowClient(tracking_uri=self.uri)
            if self._place.id is None:
                self._place.begin(self._begin(client, folder.name, config))
            client.set_terminated(self._place.id, status="RUNNING")
            client.log_dict(self._place.id, dict(config), "config.json")
        except (self._mlflow.MlflowException, ImportError, OSError) as error:
            said = " ".join(str(error).split())[:200]
            raise DiffkitError(
                f"mlflow could not start ({said}); name another store, tracker.uri=…, or begin anew without "
                f"{self._place.path}"
            ) from error
        self._client = client

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Log the values."""
        if self._place.is_new(step):
            now, metric = int(time.time() * 1000), self._mlflow.entities.Metric
            metrics = [metric(_name(name), value, now, step) for name, value in values.items()]
            self._client.log_batch(self._place.id, metrics=metrics)
            self._place.told(step)

    def sheet(self, step: int, path: Path) -> None:
        """Log the picture."""
        if self._place.is_new(step):
            with Image.open(path) as picture:
                self._client.log_image(self._place.id, picture.convert("RGB"), key="samples", step=step)
            self._place.told(step)

    def close(self) -> None:
        """Say whether the run came to a good end."""
        if self._client is not None:
            self._client.set_terminated(self._place.id, status="FAILED" if sys.exc_info()[0] else "FINISHED")

    def _begin(self, client: Any, name: str, config: Mapping[str, Any]) -> str:
        found = client.get_experiment_by_name(self.experiment)
        experiment = found.experiment_id if found else client.create_experiment(self.experiment)
        id = client.create_run(experiment, run_name=name).info.run_id
        options = [self._mlflow.entities.Param(key, str(value)[:LONGEST]) for key, value in _options(config)]
        for start in range(0, len(options), AT_ONCE):
            client.log_batch(id, params=options[start : start + AT_ONCE])
        return str(id)


def _options(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _options(value, f"{prefix}{key}.")
        else:
            yield _name(f"{prefix}{key}"), value


def _name(name: str) -> str:
    """Return a name without what MLflow refuses in one, such as the plus sign of a noise level."""
    return re.sub(r"[^\w\-. :/]", "", name)
