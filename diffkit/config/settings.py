"""The plain keys of a config: their names, types, defaults and ranges."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from diffkit.errors import DiffkitError, did_you_mean, listing

PRECISIONS = ("fp32", "bf16", "fp16")
PARALLEL = ("ddp", "fsdp", "hsdp")
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


@dataclass
class Train:
    """How long and how to train; ``clip`` 0 does not clip, an interval of 0 is never.

    ``micro_batch`` items pass the network at once, with gradients added up over the batch: 0 is all, ``auto`` what fits
    into memory. ``time`` ends the run, saved, after so long: ``90m``, ``2h``. ``spike`` leaves out steps whose
    gradient is so many times the usual. ``workers`` fetch data beside the training, and ``balance`` draws all classes
    equally often. Of a share ``condition_dropout`` of the items the network is told nothing, which guidance needs.
    ``validate_every`` holds out a share ``held_out`` of data that does not itself say what is. ``ema`` is a decay, or
    several, with the first of which samples are drawn; 0 keeps no average. ``ema_lengths`` are the relative lengths of
    averages that are kept at every save, for ``diffkit ema`` to make others from.
    """

    steps: int = 1000
    batch_size: int = 128
    micro_batch: Any = 0
    time: str | None = None
    compile: bool = False
    workers: int = 0
    balance: bool = False
    clip: float = 1.0
    spike: float = 20.0
    condition_dropout: float = 0.1
    ema: Any = 0.999
    ema_lengths: list[float] = field(default_factory=list)
    log_every: int = 20
    save_every: int = 500
    keep: int = 2
    sample_every: int = 0
    validate_every: int = 0
    held_out: float = 0.05


@dataclass
class Sample:
    """What is drawn: how many, how many at once, and which label (a name, an index, a list, or all in turn).

    ``ema`` is the average to draw with, by its decay or relative length; the run's first where none.
    """

    n: int = 100
    batch_size: int = 100
    label: Any = None
    ema: float | None = None


@dataclass
class Settings:
    """The plain keys.

    ``parallel`` is how ranks train together: each with a whole model, in shards, or in shards within a node.
    """

    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    parallel: str = "ddp"
    out: str = "runs"
    train: Train = field(default_factory=Train)
    sample: Sample = field(default_factory=Sample)


AT_LEAST: dict[str, float] = {
    "seed": 0,
    "train.steps": 1,
    "train.batch_size": 1,
    "train.clip": 0,
    "train.workers": 0,
    "train.log_every": 1,
    "train.save_every": 0,
    "train.keep": 0,
    "train.spike": 0,
    "train.condition_dropout": 0,
    "train.sample_every": 0,
    "train.validate_every": 0,
    "train.held_out": 0,
    "sample.n": 1,
    "sample.batch_size": 1,
}

AT_MOST: dict[str, int] = {"train.batch_size": 2**20, "train.workers": 256, "sample.n": 10_000_000}
"""What would take memory or processes without end, whoever wrote the config."""
LARGEST = 2**63
AVERAGES = 16
"""How many averages of the weights a run follows at most."""


def check_settings(config: Any) -> None:
    """Raise :class:`DiffkitError` where a plain key is unknown or out of its range."""
    for part, known in (("train", vars(Train())), ("sample", vars(Sample()))):
        for key in config[part]:
            if key not in known:
                raise DiffkitError(
                    f"there is no '{part}.{key}'{did_you_mean(str(key), known)}; there is: {listing(known)}"
                )
    for key, least in AT_LEAST.items():
        value = config
        for part in key.split("."):
            value = value[part]
        if value >= LARGEST:  # so large a number may have more digits than Python says
            raise DiffkitError(f"{key} is out of range; give less than 2^63")
        if not value >= least:
            raise DiffkitError(f"{key}={value} is out of range; give {least:g} or more")
        if value > AT_MOST.get(key, LARGEST):
            raise DiffkitError(f"{key}={value} is out of range; give {AT_MOST[key]} or less")
    _check_averages(config["train"]["ema"], config["train"]["ema_lengths"])
    share = config["train"]["condition_dropout"]
    if share > 1:
        raise DiffkitError(f"train.condition_dropout={share} is not a share; give 0 to 1, such as 0.1")
    held_out = config["train"]["held_out"]
    if not held_out < 1:
        raise DiffkitError(f"train.held_out={held_out} leaves nothing to train on; give a share below 1, such as 0.05")
    for key, known_values in (("precision", PRECISIONS), ("parallel", PARALLEL)):
        if config[key] not in known_values:
            raise DiffkitError(f"{key}={config[key]} is unknown; give one of {', '.join(known_values)}")
    seconds(config["train"]["time"])
    micro = config["train"]["micro_batch"]
    if micro != "auto" and (not isinstance(micro, int) or isinstance(micro, bool) or micro < 0):
        raise DiffkitError(f"train.micro_batch={micro} is out of range; give 0 for the whole batch, a number, or auto")


def seconds(text: str | None) -> float:
    """Return what a time such as ``90m`` or ``1h30m`` is in seconds; without end where none is given.

    Raises:
        DiffkitError: for another text.
    """
    if text is None:
        return float("inf")
    parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", text)
    if "".join(number + unit for number, unit in parts) != text or not parts:
        raise DiffkitError(f"train.time={text} is not a time; give one such as 90m, 2h or 1h30m")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def _check_averages(ema: Any, lengths: Any) -> None:
    decays = [ema] if isinstance(ema, int | float) else list(ema) if isinstance(ema, Sequence) else []
    if len(decays) + len(lengths) > AVERAGES:
        raise DiffkitError(
            f"train.ema and train.ema_lengths ask for {len(decays) + len(lengths)} averages of the weights; give "
            f"{AVERAGES} or fewer"
        )
    fit = all(isinstance(one, int | float) and not isinstance(one, bool) and 0 <= one < 1 for one in decays)
    if not decays or not fit or len(set(decays)) < len(decays):
        raise DiffkitError(f"train.ema={ema} is out of range; give a decay from 0 to below 1, or a list of several")
    if len(set(lengths)) < len(lengths) or not all(0 < one < 0.2886 for one in lengths):
        raise DiffkitError(
            f"train.ema_lengths={lengths} is out of range; give relative lengths above 0 and below 0.2886, each once, "
            f"such as [0.05,0.1]"
        )
