"""A run's life: from a config to a folder with weights and samples, and on again after a stop."""

import json
import math
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from diffkit.catalog import build
from diffkit.config.compose import compose
from diffkit.contracts.training import Callback, Tracker
from diffkit.errors import DiffkitError
from diffkit.progress import Progress
from diffkit.run import checkpoint, lock
from diffkit.run.folder import DATA, LOCKED, RunFolder
from diffkit.run.load import read_run, read_specs
from diffkit.run.model import Model
from diffkit.run.prepare import by, make_trainer, measured_specs, settled_config, try_item, try_network
from diffkit.run.sampling import write_samples
from diffkit.run.stop import stop_signals
from diffkit.training import Step, Trainer

RESUMING = frozenset({"train", "sample", "device", "precision", "sampler", "grid", "guidance", "tracker", "callback"})
"""What may be changed when a run goes on."""


@dataclass(frozen=True)
class Run:
    """A run that ended: its folder, the last step, the sheet of samples, and the signal that stopped it, if one did."""

    path: Path
    step: int
    sheet: Path | None = None
    stopped_by: int | None = None


def train(*words: str) -> Run:
    """Train a run, as ``diffkit WORD…`` does, and return it.

    >>> diffkit.train("recipe=digits", "schedule=cosine", "train.steps=500")        # doctest: +SKIP

    Raises:
        DiffkitError: for a word that names nothing, a value that does not fit, or data that cannot be read.
    """
    return start(compose(*words))


def start(config: DictConfig, path: Path | None = None) -> Run:
    """Train a new run of a checked config, in ``path`` or in a folder of its own under ``config.out``."""
    dataset = build("data", config.data)
    config = settled_config(config, dataset)
    data, latent = measured_specs(config, dataset)
    model = Model(config, data, latent)
    adapted = model.adaptation.start(model.denoiser) if model.adaptation is not None else ()
    trainer = make_trainer(config, model, dataset)
    try_item(model, dataset)
    try_network(model)
    model.labels(config.sample.n, config.sample.label)
    folder = RunFolder.create(config, path)
    with folder.locked():
        try:
            folder.write(LOCKED, json.dumps(lock.locked(config), indent=1) + "\n")
            folder.write(DATA, json.dumps({"data": data.asdict(), "latent": latent.asdict()}, indent=1) + "\n")
            folder.write_config(config)
        except DiffkitError:
            shutil.rmtree(folder.path, ignore_errors=True)
            raise
        parameters = sum(p.numel() for p in model.denoiser.net.parameters())
        trained = sum(p.numel() for p in trainer.parameters)
        share = f" ({trained / 1e6:.3g} M trained)" if trained < parameters else ""
        print(f"run      {folder.path}")
        print(f"data     {config.data.name}: {len(dataset)} items of {data.channels} x {by(data.shape)}")
        print(f"model    {config.net.name}, {parameters / 1e6:.3g} M parameters{share}, on {model.device}", flush=True)
        for line in adapted:
            print(f"adapt    {line}")
        return _carry_on(folder, model, trainer)


def resume(run: str | os.PathLike[str], *words: str) -> Run:
    """Go on training a run from its newest valid checkpoint, as ``diffkit resume RUN WORD…`` does.

    Raises:
        DiffkitError: where it is not a run, has no valid checkpoint, or has reached its last step.
    """
    folder = RunFolder.find(run)
    config = read_run(folder, words, RESUMING, "resume")
    with folder.locked():
        dataset = build("data", config.data)
        data, latent = read_specs(folder)
        model = Model(config, data, latent)
        try_item(model, dataset)
        trainer = make_trainer(config, model, dataset)
        found, tensors, numbers, skipped = checkpoint.newest(folder.checkpoints, tuple(trainer.tensors()))
        if numbers["step"] >= config.train.steps:
            raise DiffkitError(
                f"{folder.path} has reached step {numbers['step']} of {config.train.steps}; "
                f"go further: diffkit resume {folder.path} train.steps={2 * numbers['step']}"
            )
        try:
            trainer.restore(tensors, numbers)
        except (RuntimeError, KeyError, ValueError) as error:
            raise DiffkitError(f"{found} does not fit this run ({' '.join(str(error).split())[:200]})") from error
        for reason in (*skipped, *lock.changes(folder.read_json(LOCKED), config)):
            print(f"note     {reason}")
        folder.trim_metrics(trainer.step)
        folder.write_config(config)
        print(f"run      {folder.path}, from step {trainer.step}", flush=True)
        return _carry_on(folder, model, trainer)


def _carry_on(folder: RunFolder, model: Model, trainer: Trainer) -> Run:
    config, done = model.config, trainer.step
    tracker: Tracker | None = build("tracker", config.tracker) if config.get("tracker") is not None else None
    callback: Callback | None = build("callback", config.callback) if config.get("callback") is not None else None
    if tracker is not None:
        tracker.start(folder.path, cast("dict[str, Any]", OmegaConf.to_container(config)))
    sheet: Path | None = None
    ended_early = False
    try:
        with stop_signals() as stopped, Progress("train", trainer.steps, done) as progress:
            for step in trainer.run():
                saved = False
                if step.number % config.train.log_every == 0 or step.number == trainer.steps:
                    values = _log(folder, step, progress)
                    if tracker is not None:
                        tracker.log(step.number, values)
                    ended_early = callback is not None and callback.after_log(step.number, values)
                if _due(step.number, config.train.save_every):
                    _save(folder, trainer, step)
                    saved = True
                if _due(step.number, config.train.sample_every) and step.number < trainer.steps:
                    sheet = _sample(folder, model, trainer, tracker, quiet=True)
                    progress.say(f"samples  {sheet}")
                if stopped or ended_early or step.number == trainer.steps:
                    if not saved:
                        _save(folder, trainer, step)
                    break
        if stopped:
            print(f"stopped  at step {trainer.step} of {trainer.steps}; everything is saved")
            print(f"next     diffkit resume {folder.path}", flush=True)
            return Run(folder.path, trainer.step, sheet, stopped[0])
        if ended_early:
            print(f"ended    at step {trainer.step}, by callback={config.callback.name}")
        sheet = _sample(folder, model, trainer, tracker)
    finally:
        if tracker is not None:
            tracker.close()
    print(f"samples  {sheet}")
    print(
        f"next     diffkit sample {folder.path} sample.n=64    or    diffkit resume {folder.path} "
        f"train.steps={2 * trainer.steps}",
        flush=True,
    )
    return Run(folder.path, trainer.step, sheet)


def _log(folder: RunFolder, step: Step, progress: Progress) -> dict[str, float]:
    values = {"loss": step.loss.item(), "grad_norm": step.grad_norm.item(), "lr": step.lr}
    values["steps_per_second"] = progress.rate(step.number)
    if not math.isfinite(values["loss"]):
        raise DiffkitError(
            f"the loss is {values['loss']} at step {step.number}; the last checkpoint is kept; lower optim.lr, or "
            f"train.clip, and start again"
        )
    folder.log({"step": step.number, **values})
    progress.update(step.number, loss=values["loss"])
    return values


def _save(folder: RunFolder, trainer: Trainer, step: Step) -> None:
    if not math.isfinite(step.loss.item()):
        raise DiffkitError(f"the loss is {step.loss.item()} at step {step.number}; the last checkpoint is kept")
    checkpoint.write(folder.checkpoints, trainer.tensors(), trainer.numbers())


def _sample(folder: RunFolder, model: Model, trainer: Trainer, tracker: Tracker | None, quiet: bool = False) -> Path:
    target = folder.samples / f"step-{trainer.step:08d}"
    shutil.rmtree(target, ignore_errors=True)
    with trainer.average.swapped():
        sheet = write_samples(model, target, n=model.config.sample.n, quiet=quiet)
    model.denoiser.train()
    if tracker is not None:
        tracker.sheet(trainer.step, sheet)
    return sheet


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
