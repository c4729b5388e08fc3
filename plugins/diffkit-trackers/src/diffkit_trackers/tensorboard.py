"""TensorBoard, by its own writer of event files."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image

from diffkit import DiffkitError
from diffkit_trackers.needs import needed


class TensorBoard:
    """Writes curves, sheets of samples and the config to ``tensorboard/`` in the run's folder.

    Look at all runs with ``tensorboard --logdir runs``. A run that goes on, or goes back, says from which step it
    writes again, and TensorBoard forgets what it had from there on.

    Raises:
        DiffkitError: where TensorBoard is not installed.
    """

    def __init__(self) -> None:
        self._events = needed("tensorboard.compat.proto.event_pb2")
        self._summaries = needed("tensorboard.compat.proto.summary_pb2")
        self._tensors = needed("tensorboard.compat.proto.tensor_pb2")
        self._writers = needed("tensorboard.summary.writer.event_file_writer")

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Open an event file of its own; those of earlier starts stay."""
        try:
            self._writer = self._writers.EventFileWriter(
                str(folder / "tensorboard"), filename_suffix=f".{time.time_ns()}"
            )
        except OSError as error:
            raise DiffkitError(f"{folder / 'tensorboard'} cannot be written ({error.strerror or error})") from error
        self._step: int | None = None
        self._config = self._summaries.Summary.Value(
            tag="config",
            metadata=self._summaries.SummaryMetadata(plugin_data={"plugin_name": "text"}),
            tensor=self._tensors.TensorProto(
                dtype="DT_STRING", string_val=[_markdown(config).encode()], tensor_shape={}
            ),
        )

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values."""
        value = self._summaries.Summary.Value
        self._write(step, [value(tag=name, simple_value=number) for name, number in values.items()])

    def sheet(self, step: int, path: Path) -> None:
        """Write the picture."""
        with Image.open(path) as picture:
            width, height = picture.size
        image = self._summaries.Summary.Image(
            width=width, height=height, colorspace=3, encoded_image_string=path.read_bytes()
        )
        self._write(step, [self._summaries.Summary.Value(tag="samples", image=image)])

    def close(self) -> None:
        """Write what is still held back."""
        if hasattr(self, "_writer"):
            self._writer.close()

    def _write(self, step: int, values: list[Any]) -> None:
        if self._step is None or step < self._step:
            started = self._events.SessionLog(status=self._events.SessionLog.START)
            self._writer.add_event(self._events.Event(wall_time=time.time(), step=step, session_log=started))
            values = [self._config, *values]
        self._step = step
        summary = self._summaries.Summary(value=values)
        self._writer.add_event(self._events.Event(wall_time=time.time(), step=step, summary=summary))


def _markdown(config: Mapping[str, Any]) -> str:
    """Return a config as an indented block, which TensorBoard shows as it is."""
    lines = []
    for key, value in config.items():
        inner = value.items() if isinstance(value, Mapping) else {"": value}.items()
        lines += [f"    {key}{'.' if name else ''}{name}: {value}" for name, value in inner]
    return "\n".join(lines)
