"""``diffkit.load``: a trained run as a model to sample from."""

import os
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from diffkit.catalog import build
from diffkit.config.compose import change, restore
from diffkit.contracts.network import DataSpec
from diffkit.errors import DiffkitError, listing
from diffkit.run import averages, checkpoint, lock
from diffkit.run.bound import bounded
from diffkit.run.folder import CONFIG, DATA, KEPT, LOCKED, RunFolder
from diffkit.run.model import Model

LARGEST = 2**30
"""How many values an item of a run, or a condition of it, has at most."""
SAMPLING = frozenset({"sampler", "grid", "guidance", "sample", "seed", "device", "precision"})
"""What may be changed for sampling a run that is already trained."""


def load(run: str | os.PathLike[str] = "last", *words: str, step: int | None = None) -> Model:
    """Return the model of a run, with its averaged weights, ready to sample; what fine-tuning put in is merged.

    >>> diffkit.load("last").sample(16, label=3, steps=20, seed=0)      # doctest: +SKIP

    Args:
        run: the folder of a run or of an exported model, or ``"last"``.
        words: changes, as after ``diffkit sample RUN``: ``"sampler=heun"``, ``"sampler.steps=18"``, ``"device=cpu"``.
        step: of which checkpoint; the newest valid one where none is given.

    Raises:
        DiffkitError: where it is not a run, has no such checkpoint, is damaged, or needs a plugin that is not there.
    """
    folder = RunFolder.find(run)
    model, _ = load_model(folder, read_sampled(folder, words, "sample"), step)
    return model


def keep(run: str | os.PathLike[str], **choices: Mapping[str, Any]) -> None:
    """Make a choice of sampling a run's own: what ``diffkit sample`` and :func:`load` take where nothing else is said.

    Choices that are kept go together: where a word chooses another for one of them, such as ``sampler=heun``, all are
    those that the run was trained with again. They are written beside its config, in place of what was kept before.

    >>> diffkit.keep("last", sampler={"name": "heun", "steps": 18}, grid={"name": "karras"})     # doctest: +SKIP

    Args:
        run: a run's folder, or ``"last"``.
        choices: ``sampler``, ``grid`` or ``guidance``, each a name and options, as config.yaml holds them.

    Raises:
        DiffkitError: where it is not a run, or a choice names what is not installed or an option that does not fit.
    """
    folder = RunFolder.find(run)
    _check_kept(choices, "a run")
    config = restore({**folder.read_config(), **choices}, str(folder.path / CONFIG))
    _, latent = read_specs(folder)
    for kind in choices:
        build(kind, config[kind], spec=latent)
    folder.write(KEPT, OmegaConf.to_yaml(OmegaConf.masked_copy(config, list(choices))))


def _check_kept(choices: Mapping[str, Any], where: str) -> None:
    stray = set(map(str, choices)) - {"sampler", "grid", "guidance"}
    if stray:
        raise DiffkitError(f"{where} keeps a sampler, a grid and a guidance, but not {listing(stray)}; leave it out")


def read_run(
    folder: RunFolder,
    words: Sequence[str],
    allowed: frozenset[str],
    command: str,
    kept: Mapping[str, Any] | None = None,
) -> DictConfig:
    """Return the config of a run with ``words`` applied, once all it names is known to be installed.

    Choices that are ``kept`` stand for those that it was trained with.
    """
    values, locked = {**folder.read_config(), **(kept or {})}, folder.read_json(LOCKED)
    lock.require(locked, str(folder.path))
    lock.settle(values, locked)
    where = f"{folder.path / CONFIG} with {KEPT}" if kept else str(folder.path / CONFIG)
    return change(restore(values, where), words, allowed, command)


def read_sampled(folder: RunFolder, words: Sequence[str], command: str) -> DictConfig:
    """Return the config to sample a run with: with the choices that are kept, unless a word makes one of them anew."""
    kept = folder.read_kept()
    _check_kept(kept, str(folder.path / KEPT))
    chosen = {word.partition("=")[0].lstrip("+~") for word in words}
    return read_run(folder, words, SAMPLING, command, None if chosen & kept.keys() else kept)


def read_specs(folder: RunFolder) -> tuple[DataSpec, DataSpec]:
    """Return the spec of the data and that of what the model sees."""
    values = folder.read_json(DATA)
    try:
        specs = DataSpec.fromdict(values["data"]), DataSpec.fromdict(values["latent"])
        _check(specs[0])
        _check(specs[1])
    except (KeyError, TypeError, ValueError, DiffkitError) as error:
        raise DiffkitError(f"{folder.path / DATA} describes no data ({error}); the run is damaged") from error
    return specs


def _check(spec: DataSpec) -> None:
    """Raise where a spec that was read is of more than a machine could hold."""
    sizes = [(spec.channels, *spec.shape)]
    for one in spec.conditions:
        sizes.append((one.size, one.length, *(spec.shape if one.kind == "map" else ())))
    for size in sizes:
        if len(size) > 8 or prod(size) > LARGEST:
            raise ValueError(f"a size of {str(size)[:60]}")


def described_model(folder: RunFolder, config: DictConfig, *, empty: bool = False) -> Model:
    """Return the model of a run as it was before its training, with no more memory than its weights call for."""
    specs = read_specs(folder)
    with bounded(folder):
        return Model(config, *specs, empty=empty)


def load_model(folder: RunFolder, config: DictConfig, step: int | None = None) -> tuple[Model, list[str]]:
    """Return the model of a run with the weights of a step or its newest valid ones, and why newer were skipped."""
    model = described_model(folder, config)
    model.path = folder.path
    found, weights, model.step, skipped = _weights(folder, config, step)
    model.weights = checkpoint.digest(found)
    net = model.denoiser.net
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise DiffkitError(
            f"the weights in {found} do not fit the network that {folder.path / CONFIG} describes "
            f"({' '.join(str(error).split())[:200]})"
        ) from error
    if model.adaptation is not None:
        model.adaptation.merge(net)
    return model, skipped


def _weights(folder: RunFolder, config: DictConfig, step: int | None) -> tuple[Path, dict[str, Tensor], int, list[str]]:
    """Return where the weights to sample with are, the weights, their step, and why newer ones were skipped."""
    skipped: list[str] = []
    file, made = averages.chosen(folder, config, step)
    if step is not None:
        found = folder.checkpoints / f"step-{step:08d}"
        if not found.is_dir():
            there = [path.name[5:].lstrip("0") for path in reversed(checkpoint.steps(folder.checkpoints))]
            raise DiffkitError(
                f"{folder.path} has no checkpoint of step {step}; it has {', '.join(there) or 'none'}, of which the "
                f"last is taken where no step is given"
            )
        tensors, numbers = checkpoint.read(found, ("model", file))
    elif folder.exported:
        found = folder.path
        tensors, numbers = checkpoint.read(found, ("model",))
    else:
        found, tensors, numbers, skipped = checkpoint.newest(folder.checkpoints, ("model", file))
    return found, {**tensors["model"], **tensors.get(file, {}), **made}, numbers["step"], skipped
