"""Files in and files out: items of the run's modality, and a folder of results with a sheet."""

import os
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from diffkit import DiffkitError, Model
from diffkit.errors import listing

ON_SHEET = 60
"""How many tiles a sheet is given at most."""


def read_files(model: Model, paths: Sequence[Path], example: str) -> tuple[Tensor, list[str]]:
    """Return the files as items ``(n, channels, *shape)`` and their names; a folder stands for the files in it.

    Raises:
        DiffkitError: where there is none, or one cannot be read.
    """
    suffixes = model.modality.suffixes
    found: list[Path] = []
    for path in paths:
        inside = path.is_dir()
        files = sorted(p for p in path.iterdir() if p.suffix.lower() in suffixes) if inside else [path]
        if not files:
            raise DiffkitError(f"{path} has no files that the run's modality reads: {listing(suffixes)}")
        found += files
    if not found:
        raise DiffkitError(f"which files? name some ({listing(suffixes)}), or a folder of them: {example}")
    items = []
    for path in found:
        try:
            items.append(model.modality.read(path, model.spec))
        except Exception as error:
            raise DiffkitError(f"{path} cannot be read ({' '.join(str(error).split())[:200]})") from error
    return torch.stack(items), [path.stem for path in found]


def labels(model: Model, n: int) -> list[int]:
    """Return the label of each item: as ``sample.label`` says, or the null label."""
    if model.config.sample.label is None:
        return [len(model.latent.labels)] * n
    return model.labels(n, model.config.sample.label)


def condition(model: Model, given: Sequence[int]) -> dict[str, Tensor]:
    """Return the condition that stands for labels."""
    return {"label": torch.tensor(list(given), device=model.device)} if model.latent.labels else {}


def batches(model: Model, n: int) -> Iterator[range]:
    """Yield the indices of ``n`` items in batches of ``sample.batch_size``."""
    size = model.config.sample.batch_size
    for start in range(0, n, size):
        yield range(start, min(start + size, n))


@contextmanager
def results(model: Model, command: str) -> Iterator[Path]:
    """Give a folder to write into that appears among the run's samples, whole or not at all, and say where it is."""
    stem = Path(model.path or ".", "samples", f"{time.strftime('%Y-%m-%d_%H-%M-%S')}-{command}")
    folder = next(
        p for i in range(1, 10_000) if not (p := stem if i == 1 else stem.with_name(f"{stem.name}-{i}")).exists()
    )
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        yield part
        part.rename(folder)
    except OSError as error:
        raise DiffkitError(f"{folder} cannot be written ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    print(f"{command:<8} {folder / 'sheet.png'}")


def write(model: Model, folder: Path, names: Sequence[str], items: Tensor) -> None:
    """Write every item to a file of its name, numbered where names repeat."""
    for i, (name, item) in enumerate(zip(names, items, strict=True)):
        stem = name if list(names).count(name) == 1 else f"{name}_{i:05d}"
        model.modality.save(item, folder / stem, model.spec)


def write_sheet(model: Model, folder: Path, stages: dict[str, Tensor], names: Sequence[str]) -> None:
    """Write a sheet on which the stages of every item follow each other; an empty title is the item's name."""
    shown = max(1, ON_SHEET // len(stages))
    tiles = torch.stack([stage[:shown] for stage in stages.values()], 1).flatten(0, 1)
    titles = [stage or name for name in names[:shown] for stage in stages]
    model.modality.sheet(tiles, titles, folder / "sheet.png", model.spec, group=len(stages))


def deviation(a: Tensor, b: Tensor) -> float:
    """Return the root mean square of a difference."""
    return (a - b).square().mean().sqrt().item()
