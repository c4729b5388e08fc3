"""A run's folder: where everything about one training is.

config.yaml     what was composed, resolved; diffkit.load and diffkit resume build from it
data.json       the DataSpec that was measured
plugins.lock    every plugin, its version, and the hash of each component's source
metrics.jsonl   one JSON object a line
checkpoints/    see diffkit.run.checkpoint
samples/        one folder a sampling
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf

from diffkit.config.folders import PlainLoader
from diffkit.errors import DiffkitError
from diffkit.run import durable

CONFIG, DATA, LOCKED, METRICS = "config.yaml", "data.json", "plugins.lock", "metrics.jsonl"
KEPT = "sampling.yaml"
"""What was kept for sampling a run, beside what it was trained with: see :func:`diffkit.keep`."""

LARGEST = 10_000_000
"""Bytes of the largest description of a run that is read: a few kilobytes are usual."""


class RunFolder:
    """The folder of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """Where checkpoints are."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """Where samplings are."""
        return self.path / "samples"

    @property
    def exported(self) -> bool:
        """Whether it is no run, but a model that one was exported to."""
        return (self.path / "model.safetensors").is_file()

    @classmethod
    def create(cls, config: DictConfig, folder: Path | None = None) -> "RunFolder":
        """Make the folder of a new run: ``folder``, or ``<out>/<recipe>/<time>``, never one that exists."""
        stem = folder or Path(config.out, str(config.recipe), time.strftime("%Y-%m-%d_%H-%M-%S"))
        try:
            durable.make_folder(stem.parent)
            for attempt in range(1000):
                path = stem if attempt == 0 else stem.with_name(f"{stem.name}-{attempt + 1}")
                with suppress(FileExistsError):
                    path.mkdir(exist_ok=folder is not None and not (path / CONFIG).exists())
                    durable.sync(path.parent)
                    return cls(path)
        except OSError as error:
            raise DiffkitError(
                f"the run's folder {stem} cannot be made ({error.strerror}); choose another place: out=FOLDER"
            ) from error
        raise DiffkitError(f"{stem} and 999 like it exist; choose another place: out=FOLDER")

    @classmethod
    def find(cls, word: str | os.PathLike[str], out: str = "runs") -> "RunFolder":
        """Return the run that ``word`` means: its folder, or ``last`` for the one started last under ``out``.

        Raises:
            DiffkitError: where it is not a run.
        """
        if str(word) == "last":
            found = {path.parent: path for depth in ("*/*", "*/*/*") for path in Path(out).glob(f"{depth}/{CONFIG}")}
            started = [path for folder, path in found.items() if folder.parent not in found]  # no export of a run
            if not started:
                raise DiffkitError(f"there is no run under {Path(out).resolve()}; train one first: diffkit")
            return cls(max(started, key=lambda path: path.stat().st_mtime_ns).parent)._own()
        path = Path(word)
        if not (path / CONFIG).is_file():
            what = "has no config.yaml" if path.is_dir() else "is not a folder"
            raise DiffkitError(f"{path} is not a run ({what}); give a run's folder, such as runs/digits/…, or last")
        return cls(path)._own()

    def _own(self) -> "RunFolder":
        """Return the folder, once it is known that it leads nowhere else: it may be a stranger's, and is written to."""
        for folder in (self.path, self.checkpoints, *self.checkpoints.glob("*")):
            for entry in os.scandir(folder) if folder.is_dir() else ():
                if not entry.is_file(follow_symlinks=False) and not entry.is_dir(follow_symlinks=False):
                    raise DiffkitError(
                        f"{entry.path} is a link or a device, which a run's folder does not have; put what it stands "
                        f"for in its place"
                    )
        return self

    def write(self, name: str, text: str) -> None:
        """Write a small file durably, whole or not at all."""
        part = self.path / f".{name}.{os.getpid()}"
        try:
            durable.write(part, text.encode())
            part.replace(self.path / name)
            durable.sync(self.path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise self._unwritable(name, error) from error

    def read_config(self) -> dict[str, Any]:
        """Return what config.yaml holds, unresolved and unchecked."""
        return self._read_yaml(CONFIG, "is not the config of a run; give the folder of a run, or last")

    def read_kept(self) -> dict[str, Any]:
        """Return what sampling.yaml holds, likewise, or nothing where there is none."""
        if not (self.path / KEPT).exists():
            return {}
        return self._read_yaml(KEPT, "does not say how to sample a run; remove it")

    def _read_yaml(self, name: str, otherwise: str) -> dict[str, Any]:
        path = self.path / name
        try:
            values = yaml.load(self._text(name), PlainLoader)
        except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
            raise DiffkitError(f"{path} cannot be read as YAML ({' '.join(str(error).split())[:200]})") from error
        if not isinstance(values, dict):
            raise DiffkitError(f"{path} {otherwise}")
        return values

    def read_json(self, name: str) -> dict[str, Any]:
        """Return what a JSON file of the run holds."""
        path = self.path / name
        try:
            values = json.loads(self._text(name))
        except (OSError, ValueError, RecursionError) as error:
            raise DiffkitError(f"{path} cannot be read ({error}); the run is damaged") from error
        if not isinstance(values, dict):
            raise DiffkitError(f"{path} holds no JSON object; the run is damaged")
        return values

    def _text(self, name: str) -> str:
        path = self.path / name
        if path.stat().st_size > LARGEST:
            raise ValueError(f"it has more than {LARGEST // 1_000_000} MB")
        return path.read_text(encoding="utf-8")

    def write_config(self, config: DictConfig) -> None:
        """Write config.yaml."""
        self.write(CONFIG, OmegaConf.to_yaml(config))

    def log(self, values: Mapping[str, Any]) -> None:
        """Append a line to metrics.jsonl."""
        try:
            with (self.path / METRICS).open("a", encoding="utf-8") as file:
                file.write(json.dumps(values) + "\n")
        except OSError as error:
            raise self._unwritable(METRICS, error) from error

    def trim_metrics(self, step: int) -> None:
        """Drop the lines that a resumed run will write again: those after ``step``, and a torn last one."""
        path = self.path / METRICS
        if not path.exists():
            return
        kept = []
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                if json.loads(line)["step"] <= step:
                    kept.append(line + "\n")
            except (ValueError, KeyError, TypeError):
                continue
        self.write(METRICS, "".join(kept))

    def _unwritable(self, name: str, error: OSError) -> DiffkitError:
        return DiffkitError(
            f"{self.path / name} cannot be written ({error.strerror}); make room or give write permission, then "
            f"diffkit resume {self.path}"
        )

    def locked(self) -> AbstractContextManager[None]:
        """Keep other processes from training into this folder; the lock ends with the process, however it ends."""
        return locked(self.path / ".lock", f"another process is training in {self.path}; wait for it, or stop it")


@contextmanager
def locked(path: Path, otherwise: str) -> Iterator[None]:
    """Hold the lock that the file ``path`` is for; raise :class:`DiffkitError` ``otherwise``."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    except OSError as error:
        raise DiffkitError(f"{path} cannot be written ({error.strerror}); give write permission") from error
    try:
        try:
            _lock(descriptor)
        except OSError as error:
            raise DiffkitError(otherwise) from error
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> None:
    if os.name == "posix":
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    else:
        import msvcrt

        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
