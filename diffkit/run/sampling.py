"""Samples as files: one each, named by label and index, and a sheet of the first ones to look at.

While they are drawn they are in a hidden folder beside the one they end up in, known by what was asked for, so that
the same words go on where a sampling was stopped or killed. A file appears there whole, and is never written again.
"""

import hashlib
import json
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from diffkit.errors import DiffkitError
from diffkit.progress import Progress
from diffkit.run import durable
from diffkit.run.folder import locked
from diffkit.run.model import Model
from diffkit.run.stop import Stopped

ON_SHEET = 100
"""How many samples the sheet is given at most; a modality may show fewer."""
SAID, WRITING, LOCK = "sampling.json", ".writing", ".lock"


def write_samples(model: Model, folder: Path, *, n: int, quiet: bool = False, stopped: Sequence[int] = ()) -> Path:
    """Draw ``n`` samples as the model's config says and write them to ``folder``, which must not exist.

    A model whose weights are known, as those of a run that was loaded are, goes on where it was stopped; any other, as
    one in training, begins anew.

    Args:
        model: what draws them.
        folder: where they are in the end.
        n: how many.
        quiet: whether to show no progress.
        stopped: signals received; one ends the sampling after a batch.

    Returns:
        The path of the sheet.

    Raises:
        DiffkitError: for a label the run does not have, or a folder that cannot be written.
        Stopped: where a signal was received; what was drawn is kept.
    """
    labels, asked = model.labels(n, model.config.sample.label), _asked(model, n)
    key = hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16] if model.weights else folder.name
    part = folder.with_name(f".{key}")
    other = f"another process is drawing these samples in {part}; wait for it, or draw others: seed=NUMBER"
    if not model.weights:
        shutil.rmtree(part, ignore_errors=True)
    try:
        durable.make_folder(part)
        with locked(part / LOCK, other):
            try:
                said = _draw_into(part, model, labels, quiet, stopped)
                _write(part / SAID, json.dumps({**asked, **said}, indent=1) + "\n")
                shutil.rmtree(part / WRITING)
                part.rename(folder)
            finally:
                if part.exists() and not (model.weights and (part / SAID).exists()):
                    shutil.rmtree(part, ignore_errors=True)
        (folder / LOCK).unlink()
    except OSError as error:
        raise DiffkitError(f"samples cannot be written to {folder} ({error.strerror or error})") from error
    return folder / "sheet.png"


def _asked(model: Model, n: int) -> dict[str, Any]:
    """Return everything that samples depend on, and nothing that they do not."""
    config = model.config
    chosen: dict[str, Any] = {
        kind: OmegaConf.to_container(config[kind])
        for kind in ("sampler", "grid", "guidance", "sample")
        if config.get(kind) is not None
    }
    chosen["sample"] = {key: value for key, value in chosen["sample"].items() if key not in ("n", "batch_size")}
    return {**chosen, "precision": config.precision, "seed": config.seed, "n": n, "weights": model.weights}


def _draw_into(part: Path, model: Model, labels: list[int], quiet: bool, stopped: Sequence[int]) -> dict[str, Any]:
    """Draw what is not in ``part`` yet, and the sheet; return what there is to say of it."""
    names, n, size = model.latent.labels, len(labels), model.config.sample.batch_size
    done = first = _done(part, n)
    began, before = time.monotonic(), model.denoiser.items
    shown: list[Tensor] = []
    with ExitStack() as stack:
        progress = Progress("sample", n, first)
        if not quiet:
            stack.enter_context(progress)
        while done < n:
            indices = range(done, min(done + size, n))
            xs = model.draw(indices, labels[done : indices.stop])
            for index, x in zip(indices, xs, strict=True):
                _save(model, x, part, _stem(names[labels[index]] if names else "sample", index))
            shown.append(xs[: max(0, ON_SHEET - done)])
            done = indices.stop
            _write(part / SAID, json.dumps({"done": done}))
            if not quiet:
                progress.update(done)
            if stopped and done < n:
                raise Stopped(stopped[0], f"at {done} of {n} samples, which are kept")
    missing = min(
        first, ON_SHEET
    )  # what an earlier process drew of the sheet; a sample is the same whenever it is drawn
    for start in reversed(range(0, missing, size)):
        stop = min(start + size, missing)
        shown.insert(0, model.draw(range(start, stop), labels[start:stop]))
    titles = [names[label] if names else str(i) for i, label in enumerate(labels[:ON_SHEET])]
    model.modality.sheet(torch.cat(shown), titles, part / "sheet.png", model.spec)
    evaluations = (model.denoiser.items - before) / (n - first + missing)
    return {"n": n, "seconds": round(time.monotonic() - began, 3), "evaluations_per_sample": evaluations}


def _done(part: Path, n: int) -> int:
    """Return how many of ``n`` samples an earlier process has left in ``part``."""
    shutil.rmtree(part / WRITING, ignore_errors=True)
    (part / WRITING).mkdir()
    try:
        return min(max(0, int(json.loads((part / SAID).read_text(encoding="utf-8"))["done"])), n)
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return 0


def _save(model: Model, x: Tensor, part: Path, stem: str) -> None:
    """Write the files of one sample, each whole and once: an earlier process may have been killed among them."""
    for path in model.modality.save(x, part / WRITING / stem, model.spec):
        if (part / path.name).exists():
            path.unlink()
        else:
            path.rename(part / path.name)


def _write(path: Path, text: str) -> None:
    new = path.parent / WRITING / path.name
    new.write_text(text, encoding="utf-8")
    new.replace(path)


def _stem(name: str, index: int) -> str:
    safe = "".join(c if c.isalnum() or c in "-_#+" else "-" for c in name)[:60]
    return f"{safe}_{index:05d}"
