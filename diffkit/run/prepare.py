"""Before the first step: settle what the config left open, measure the data, and refuse what could not train.

Nothing is written yet, so a mistake found here leaves no trace.
"""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from diffkit.catalog import build
from diffkit.config.source import node
from diffkit.contracts.data import Dataset
from diffkit.contracts.network import DataSpec
from diffkit.data.fetch import fetch
from diffkit.data.stream import BatchStream
from diffkit.denoiser import outputs_of
from diffkit.errors import DiffkitError
from diffkit.parallel import Ranks
from diffkit.run.folder import RunFolder
from diffkit.run.model import Model
from diffkit.streams import generator
from diffkit.training import Trainer

MEASURED = 1024
"""How many items the standard deviation of the data is measured on."""
TRIED = 4
"""Evaluations of the network by which a sampling is tried out."""


def settled_config(config: DictConfig, dataset: Dataset) -> DictConfig:
    """Return the config with the data's own modality where none was chosen, and paths in full."""
    chosen = config.get("modality")
    if chosen is not None and chosen.name.rpartition(".")[2] != dataset.modality:
        raise DiffkitError(
            f"data '{config.data.name}' is of modality '{dataset.modality}', not '{chosen.name}'; leave modality out, "
            f"or choose other data: data=NAME"
        )
    settled = config.copy()
    OmegaConf.set_struct(settled, False)
    if chosen is None:
        settled.modality = OmegaConf.structured(node("modality", dataset.modality))
    for data in (settled.data, *(settled.data.get("sets") or ())):  # a run may be resumed from another folder
        if not isinstance(data, str) and data.get("path"):
            data.path = str(Path(data.path).expanduser().resolve())
    for chosen in (settled.get("adapt"), settled.get("guidance")):
        if chosen and chosen.get("run"):  # "last" is another one as soon as this run has begun
            chosen.run = str(RunFolder.find(chosen.run).path.resolve())
    return settled


def measured_specs(config: DictConfig, dataset: Dataset) -> tuple[DataSpec, DataSpec]:
    """Return the spec of the data and of what the model sees, each with the standard deviation measured."""
    if len(dataset) == 0:
        raise DiffkitError(f"data '{config.data.name}' is empty; give it a folder with files: data.path=FOLDER")
    order = torch.randperm(len(dataset), generator=generator("measure"))[:MEASURED]
    x = _looked_at(config.data.name, dataset, order.tolist())
    data = replace(dataset.spec, std=_deviation(x))
    if config.get("encoder") is None:
        return data, data
    maps = [one.name for one in data.conditions if one.kind == "map"]
    if maps:
        raise DiffkitError(
            f"data '{config.data.name}' has the map '{maps[0]}' of the data's own shape, which encoder "
            f"'{config.encoder.name}' does not encode; leave the encoder out: encoder=null"
        )
    encoder = build("encoder", config.encoder, spec=data)
    with torch.no_grad():
        return data, replace(encoder.latent, std=_deviation(encoder.encode(x)), conditions=data.conditions)


def _looked_at(name: str, dataset: Dataset, indices: list[int]) -> torch.Tensor:
    """Return items of a data set, once they are known to be what its contract says."""
    said = f"data '{name}' does not give items as (x, label), x a float32 tensor of {by(dataset.spec.shape)}"
    try:
        x, _ = fetch(dataset, indices)
    except DiffkitError:
        raise
    except Exception as error:
        raise DiffkitError(f"{said} ({type(error).__name__}: {' '.join(str(error).split())[:200]})") from error
    if x.dtype != torch.float32:
        raise DiffkitError(f"{said}, but one of {x.dtype}; convert it: x.float()")
    if not x.isfinite().all():
        raise DiffkitError(f"data '{name}' has values that are not finite; leave such items out")
    return x


def _deviation(x: torch.Tensor) -> float:
    return max(x.double().std().item(), 1e-3)


def make_trainer(config: DictConfig, model: Model, dataset: Dataset, ranks: Ranks) -> Trainer:
    """Return the trainer that a config describes, at step 0."""
    stream = BatchStream(
        dataset,
        config.train.batch_size,
        config.seed,
        rank=ranks.rank,
        ranks=ranks.size,
        balance=config.train.balance,
        workers=config.train.workers,
        pinned=model.device.type == "cuda",
    )
    trainer = Trainer(
        model.denoiser,
        stream,
        build("optim", config.optim),
        steps=config.train.steps,
        seed=config.seed,
        clip=config.train.clip,
        ema=config.train.ema,
        ema_lengths=config.train.ema_lengths,
        precision=config.precision,
        encoder=model.encoder,
        augment=build("augment", config.augment, spec=model.spec) if config.get("augment") is not None else None,
        micro_batch=config.train.micro_batch,
        spike=config.train.spike,
        condition_dropout=config.train.condition_dropout,
        ranks=ranks,
        parallel=config.parallel,
    )
    if config.train.compile:
        model.denoiser.net.compile()
    return trainer


def try_item(model: Model, dataset: Dataset) -> None:
    """Refuse before anything is written what would fail at the first step."""
    if dataset.spec.rank != model.modality.rank:
        raise DiffkitError(
            f"modality '{model.modality.name}' has {model.modality.rank} spatial axes, but the data has "
            f"{dataset.spec.rank}"
        )
    x, cond = fetch(dataset, [0])
    label = int(cond["label"])
    model.modality.check(x[0], dataset.spec)
    if model.latent.labels and not 0 <= label <= len(model.latent.labels):
        raise DiffkitError(f"the data's first label is {label}, but it names {len(model.latent.labels)} labels")


def try_network(model: Model) -> None:
    """Refuse a network that cannot take the data, such as one for another number of axes."""
    if not any(parameter.requires_grad for parameter in model.denoiser.net.parameters()):
        raise DiffkitError(f"net '{model.config.net.name}' has no parameters to train; choose another: net=NAME")
    net, shape = model.denoiser.net, (1, model.latent.channels, *model.latent.shape)
    cond = model.told([0], {})
    said = f"net '{model.config.net.name}' cannot take data of {by(shape[1:])}"
    try:
        with torch.no_grad():
            y = net.eval()(torch.zeros(shape, device=model.device), torch.zeros(1, device=model.device), **cond)
    except DiffkitError:
        raise
    except Exception as error:
        raise DiffkitError(f"{said} ({' '.join(str(error).split())[:200]}); choose another: net=NAME") from error
    expected = (1, outputs_of(model.denoiser.prediction) * shape[1], *shape[2:])
    if tuple(y.shape) != expected:
        raise DiffkitError(f"{said}: it returns {by(y.shape[1:])}, not {by(expected[1:])}; choose another: net=NAME")


class _Enough(Exception):
    """The network was asked often enough."""


def try_sampling(model: Model) -> None:
    """Refuse before the training what drawing samples would refuse after it, such as guidance that the model lacks.

    A sample is begun, of which a few evaluations are made: by then a sampler has added noise, if it adds any.
    """
    _check_falling(model)
    left = iter(range(TRIED))

    def count(*_: object) -> None:
        if next(left, None) is None:
            raise _Enough

    hook = model.denoiser.net.register_forward_pre_hook(count)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they are given when samples are drawn
            model.draw([0], model.labels(1, model.config.sample.label))
    except _Enough:
        pass
    finally:
        hook.remove()


def _check_falling(model: Model) -> None:
    """Raise where the schedule has less noise at a later time, on which no sampler could step."""
    t = torch.linspace(0, 1, 257, dtype=torch.float64)
    with torch.no_grad():
        rising = ~(model.denoiser.schedule.lam(t).diff() < 0)
    if rising.any():
        raise DiffkitError(
            f"schedule '{model.config.schedule.name}' is not monotone: its λ does not fall after "
            f"t={t[:-1][rising][0]:g}, as noise has to grow from t=0 to t=1; choose another: schedule=NAME"
        )


def by(shape: Sequence[int]) -> str:
    """Return a shape as people write it: ``8 x 8``."""
    return " x ".join(map(str, shape))
