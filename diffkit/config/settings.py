"""The plain keys of a config: their names, types, defaults and ranges."""

from dataclasses import dataclass, field
from typing import Any

from diffkit.errors import DiffkitError, did_you_mean, listing

PRECISIONS = ("fp32", "bf16")


@dataclass
class Train:
    """How long and how to train; ``ema`` 0 keeps no average, ``clip`` 0 does not clip, an interval of 0 is never."""

    steps: int = 1000
    batch_size: int = 128
    clip: float = 1.0
    ema: float = 0.999
    log_every: int = 20
    save_every: int = 500
    sample_every: int = 0


@dataclass
class Sample:
    """What is drawn: how many, how many at once, and which label (a name, an index, a list, or all in turn)."""

    n: int = 100
    batch_size: int = 100
    label: Any = None


@dataclass
class Settings:
    """The plain keys."""

    seed: int = 0
    device: str = "auto"
    precision: str = "fp32"
    out: str = "runs"
    train: Train = field(default_factory=Train)
    sample: Sample = field(default_factory=Sample)


AT_LEAST: dict[str, float] = {
    "seed": 0,
    "train.steps": 1,
    "train.batch_size": 1,
    "train.clip": 0,
    "train.ema": 0,
    "train.log_every": 1,
    "train.save_every": 0,
    "train.sample_every": 0,
    "sample.n": 1,
    "sample.batch_size": 1,
}


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
        if not value >= least:
            raise DiffkitError(f"{key}={value} is out of range; give {least:g} or more")
    if not config["train"]["ema"] < 1:
        raise DiffkitError(f"train.ema={config['train']['ema']} is out of range; give a decay from 0 to below 1")
    if config["precision"] not in PRECISIONS:
        raise DiffkitError(f"precision={config['precision']} is unknown; give one of {', '.join(PRECISIONS)}")
