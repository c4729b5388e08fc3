"""A run's life: from a config to a folder with weights and samples, and on again after a stop."""

import json
import os
import shutil
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import torch._dynamo  # noqa: F401  # the first optimizer would, when garbage is looked for again
from omegaconf import DictConfig

from diffkit.catalog import build
from diffkit.config.compose import compose
from diffkit.contracts.data import Dataset
from diffkit.contracts.network import DataSpec
from diffkit.data.split import split
from diffkit.errors import DiffkitError
from diffkit.flops import flops, parameters
from diffkit.parallel import Ranks, hollow, join_ranks
from diffkit.run import averages, checkpoint, lock
from diffkit.run.folder import DATA, LOCKED, RunFolder
from diffkit.run.life import Life, Run
from diffkit.run.load import described_model, read_run
from diffkit.run.model import Model
from diffkit.run.prepare import by, make_trainer, measured_specs, settled_config, try_item, try_network, try_sampling
from diffkit.run.validation import Validation
from diffkit.training import Trainer

RESUMING = frozenset(
    {"train", "sample", "device", "precision", "parallel", "sampler", "grid", "guidance", "tracker", "callback"}
)
"""What may be changed when a run goes on."""


def train(*words: str) -> Run:
    """Train a run, as ``diffkit WORD…`` does, and return it.

    >>> diffkit.train("recipe=digits", "schedule=cosine", "train.steps=500")        # doctest: +SKIP

    Raises:
        DiffkitError: for a word that names nothing, a value that does not fit, or data that cannot be read.
    """
    return start(compose(*words))


def start(config: DictConfig, path: Path | None = None) -> Run:
    """Train a new run of a checked config, in ``path`` or in a folder of its own under ``config.out``."""
    ranks = join_ranks()
    averages.check_followed(config)
    for kind in ("tracker", "callback"):
        if config.get(kind) is not None:
            build(kind, config[kind])  # refused before there is a folder
    dataset, held_out = _data(config, ranks)
    config = settled_config(config, dataset)
    data, latent = measured_specs(config, dataset)
    model = Model(config, data, latent, empty=_handed(config, ranks))
    try_item(model, dataset)
    adapted: Sequence[str] = ()
    if not hollow(model.denoiser.net):
        try_network(model)
        try_sampling(model)
        if model.adaptation is not None:
            adapted = model.adaptation.start(model.denoiser)
    work = ranks.told(flops(model.denoiser.net, latent) if ranks.first else 0)
    trainer = make_trainer(config, model, dataset, ranks)
    folder = RunFolder(Path(ranks.told(str(RunFolder.create(config, path).path) if ranks.first else "")))
    with folder.locked() if ranks.first else nullcontext():
        if ranks.first:
            _begin(folder, config, data, latent)
            print(f"run      {folder.path}")
            print(f"data     {config.data.name}: {len(dataset)} items of {data.channels} x {by(data.shape)}")
            print(f"model    {config.net.name}, {_size(trainer, work)}, on {_where(model, ranks)}", flush=True)
            for line in adapted:
                print(f"adapt    {line}")
        return Life(folder, model, trainer, _validation(config, model, trainer, held_out), work).run()


def resume(run: str | os.PathLike[str], *words: str) -> Run:
    """Go on training a run from its newest valid checkpoint, as ``diffkit resume RUN WORD…`` does.

    Raises:
        DiffkitError: where it is not a run, has no valid checkpoint, or has reached its last step.
    """
    ranks = join_ranks()
    folder = RunFolder.find(run)
    if folder.exported:
        raise DiffkitError(
            f"{folder.path} is an exported model, which has nothing to go on training with; start from its weights: "
            f"diffkit adapt=weights adapt.run={folder.path} data=NAME"
        )
    config = read_run(folder, words, RESUMING, "resume")
    averages.check_same(folder, config)
    with folder.locked() if ranks.first else nullcontext():
        dataset, held_out = _data(config, ranks)
        _same_split(folder, config, dataset)
        model = described_model(folder, config, empty=_handed(config, ranks))
        try_item(model, dataset)
        if not hollow(model.denoiser.net):
            try_sampling(model)
        work = ranks.told(flops(model.denoiser.net, model.latent) if ranks.first else 0)
        trainer = make_trainer(config, model, dataset, ranks)
        found, tensors, numbers, skipped = checkpoint.newest(
            folder.checkpoints, tuple(trainer.tensors()), trainer.layout(), ranks
        )
        if numbers["step"] >= config.train.steps:
            raise DiffkitError(
                f"{folder.path} has reached step {numbers['step']} of {config.train.steps}; "
                f"go further: diffkit resume {folder.path} train.steps={2 * numbers['step']}"
            )
        try:
            trainer.restore(tensors, numbers)
        except Exception as error:  # a state may be anything
            raise DiffkitError(f"{found} does not fit this run ({' '.join(str(error).split())[:200]})") from error
        if ranks.first:
            for reason in (*skipped, *lock.changes(folder.read_json(LOCKED), config)):
                print(f"note     {reason}")
            folder.trim_metrics(trainer.step)
            folder.write_config(config)
            print(f"run      {folder.path}, from step {trainer.step}", flush=True)
        return Life(folder, model, trainer, _validation(config, model, trainer, held_out), work).run()


def _handed(config: DictConfig, ranks: Ranks) -> bool:
    """Return whether this rank is handed the values of its network by the first."""
    return config.parallel != "ddp" and not ranks.first


def _data(config: DictConfig, ranks: Ranks) -> tuple[Dataset, Dataset | None]:
    """Return the data to train on, and the held-out data where it is asked for."""
    with ranks.in_turn():  # the first may download, decode or write a cache
        dataset: Dataset = build("data", config.data)
    if not config.train.validate_every:
        return dataset, None
    return split(dataset, config.train.held_out, config.seed)


def _same_split(folder: RunFolder, config: DictConfig, dataset: Dataset) -> None:
    """Refuse to hold out another part of the data than before, of which some was trained on."""
    before, now = folder.read_config().get("train", {}), config.train
    validated = bool(before.get("validate_every"))
    same = validated == bool(now.validate_every) and before.get("held_out") == now.held_out
    if not (same or hasattr(dataset, "held_out")):
        was = "train.validate_every=0" if not validated else f"train.held_out={before.get('held_out')} and validation"
        raise DiffkitError(
            f"{folder.path} was trained with {was}, and another would change what of the data it trains on; leave "
            f"train.validate_every and train.held_out out"
        )


def _validation(config: DictConfig, model: Model, trainer: Trainer, held_out: Dataset | None) -> Validation | None:
    return None if held_out is None else Validation(held_out, trainer, model.encoder, config.seed)


def _begin(folder: RunFolder, config: DictConfig, data: DataSpec, latent: DataSpec) -> None:
    """Write what a run starts with; on failure nothing stays."""
    try:
        folder.write(LOCKED, json.dumps(lock.locked(config), indent=1) + "\n")
        folder.write(DATA, json.dumps({"data": data.asdict(), "latent": latent.asdict()}, indent=1) + "\n")
        folder.write_config(config)
    except DiffkitError:
        shutil.rmtree(folder.path, ignore_errors=True)
        raise


def _size(trainer: Trainer, work: int) -> str:
    size, trained = parameters(trainer.denoiser.net), sum(p.numel() for p in trainer.parameters)
    share = f" ({trained / 1e6:.3g} M trained)" if trained < size else ""
    return f"{size / 1e6:.3g} M parameters{share}, {work / 1e9:.3g} GFLOP an item"


def _where(model: Model, ranks: Ranks) -> str:
    return str(model.device) if ranks.size == 1 else f"{ranks.size} x {model.device} by {model.config.parallel}"
