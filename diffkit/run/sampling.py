"""Samples as files: one each, named by label and index, and a sheet of the first ones to look at."""

import json
import os
import shutil
import time
from pathlib import Path

import torch
from omegaconf import OmegaConf

from diffkit.errors import DiffkitError
from diffkit.progress import Progress
from diffkit.run.model import Model

ON_SHEET = 100
"""How many samples the sheet is given at most; a modality may show fewer."""


def write_samples(model: Model, folder: Path, *, n: int, quiet: bool = False) -> Path:
    """Draw ``n`` samples as the model's config says and write them to ``folder``, which must not exist.

    Returns:
        The path of the sheet.

    Raises:
        DiffkitError: for a label the run does not have, or a folder that cannot be written; nothing is left behind.
    """
    sample = model.config.sample
    labels = model.labels(n, sample.label)
    part = folder.with_name(f".{folder.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        _draw_into(part, model, labels, sample.batch_size, quiet)
        part.rename(folder)
    except OSError as error:
        raise DiffkitError(f"samples cannot be written to {folder} ({error.strerror or error})") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return folder / "sheet.png"


def _draw_into(part: Path, model: Model, labels: list[int], batch_size: int, quiet: bool) -> None:
    names, shown, n = model.latent.labels, [], len(labels)
    began = time.monotonic()
    before = model.denoiser.items
    progress = Progress("sample", n)
    if not quiet:
        progress.__enter__()
    try:
        for start in range(0, n, batch_size):
            indices = range(start, min(start + batch_size, n))
            xs = model.draw(indices, labels[indices.start : indices.stop])
            for index, x in zip(indices, xs, strict=True):
                model.modality.save(x, part / _stem(names[labels[index]] if names else "sample", index), model.spec)
            shown.append(xs[: max(0, ON_SHEET - start)])
            if not quiet:
                progress.update(indices.stop)
    finally:
        progress.__exit__()
    titles = [names[label] if names else str(i) for i, label in enumerate(labels[:ON_SHEET])]
    model.modality.sheet(torch.cat(shown), titles, part / "sheet.png", model.spec)
    config = model.config
    said: dict[str, object] = {
        kind: OmegaConf.to_container(config[kind])
        for kind in ("sampler", "grid", "guidance")
        if config.get(kind) is not None
    }
    said |= {"seed": config.seed, "n": n, "seconds": round(time.monotonic() - began, 3)}
    said["evaluations_per_sample"] = (model.denoiser.items - before) / n
    (part / "sampling.json").write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")


def _stem(name: str, index: int) -> str:
    safe = "".join(c if c.isalnum() or c in "-_#+" else "-" for c in name)[:60]
    return f"{safe}_{index:05d}"
