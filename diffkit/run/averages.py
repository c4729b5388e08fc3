"""The averages of a run's weights: those it follows as it trains, and those made afterwards.

averages/snapshots/     the power-function averages at every save, kept for good, each laid out as a checkpoint
averages/length-0.1/    one of another length, which ``diffkit ema RUN --length 0.1`` made from them
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffkit.ema import decay_file, length_file
from diffkit.errors import DiffkitError
from diffkit.profiles import Profile, combination, exponent
from diffkit.run import checkpoint
from diffkit.run.folder import RunFolder


@dataclass(frozen=True)
class Average:
    """An average that was made: where it is, of which step, from how many profiles, and how far from the wanted one.

    The distance is that of :func:`diffkit.profiles.combination`.
    """

    path: Path
    step: int
    profiles: int
    distance: float


def snapshots(folder: RunFolder) -> Path:
    """Return where the snapshots of a run are."""
    return folder.path / "averages" / "snapshots"


def made(folder: RunFolder, length: float) -> Path:
    """Return where an average of a length is once it was made."""
    return folder.path / "averages" / length_file(length)


def reconstruct(run: str | os.PathLike[str] = "last", *, length: float) -> Average:
    """Make the power-function average of any relative length, at the last snapshot's step, and keep it with the run.

    >>> diffkit.reconstruct("last", length=0.1)                             # doctest: +SKIP
    >>> diffkit.load("last", "sample.ema=0.1")                              # doctest: +SKIP

    It is the combination of the run's snapshots whose profile is nearest in the least squares; damaged ones are left
    out. See Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), section 3.2.

    Args:
        run: a run's folder, or ``"last"``; trained with ``train.ema_lengths``.
        length: the standard deviation of the profile over the whole training, such as 0.1.

    Raises:
        DiffkitError: where it is no relative length, or the run has no valid snapshot.
    """
    exponent(length)
    folder = RunFolder.find(run)
    found = _profiles(snapshots(folder))
    if not found:
        raise DiffkitError(
            f"{folder.path} has no valid snapshot of averages; train with some: train.ema_lengths=[0.05,0.1]"
        )
    step = max(profile.step for profile in found)
    weights, distance = combination(list(found), Profile(length, step))
    total: dict[str, Tensor] = {}
    kinds: dict[str, torch.dtype] = {}
    for (profile, path), weight in zip(found.items(), weights.tolist(), strict=True):
        file = length_file(profile.length)
        for name, value in checkpoint.read(path, (file,))[0][file].items():
            kinds[name] = value.dtype
            total[name] = total.get(name, 0) + weight * value.double()
    ready = {name: value.to(kinds[name]) for name, value in total.items()}
    path = checkpoint.write(made(folder, length), {"ema": ready}, {"step": step, "distance": distance}, keep=1)
    return Average(path, step, len(found), distance)


def _names(config: Any) -> str:
    """Return the averages that the training follows, as people name them."""
    return ", ".join(map(str, (*_decays(config.train.ema), *config.train.ema_lengths)))


def followed(config: Any) -> str | None:
    """Return the file in checkpoints of the average that ``sample.ema`` means, if the training follows that one."""
    wanted, decays = config.sample.ema, _decays(config.train.ema)
    if wanted is None or wanted == decays[0]:
        return "ema"
    if wanted in decays:
        return decay_file(wanted)
    return length_file(wanted) if wanted in config.train.ema_lengths else None


def check_followed(config: Any) -> None:
    """Raise :class:`~diffkit.DiffkitError` where a new run would be sampled with an average that it does not follow."""
    if followed(config) is None:
        raise DiffkitError(
            f"sample.ema={config.sample.ema} is none of the averages that the training follows ({_names(config)}); "
            f"choose one of them, or have it followed: train.ema, or train.ema_lengths"
        )


def chosen(folder: RunFolder, config: Any, step: int | None = None) -> tuple[str, dict[str, Tensor]]:
    """Return the file in checkpoints of the average that ``sample.ema`` means, and its weights where it was made.

    An exported model holds but one.

    Raises:
        DiffkitError: where the run has no such average, or has it of another step than is asked for.
    """
    wanted, file = config.sample.ema, "ema" if folder.exported else followed(config)
    if file is not None:
        return file, {}
    if made(folder, wanted).is_dir():
        path, tensors, numbers, _ = checkpoint.newest(made(folder, wanted), ("ema",))
        if step not in (None, numbers["step"]):
            raise DiffkitError(f"{path} is of step {numbers['step']}, not {step}; leave the step out, or sample.ema")
        return "ema", tensors["ema"]
    raise DiffkitError(
        f"sample.ema={wanted} is none of the averages that {folder.path} has ({_names(config)}); make one by its "
        f"relative length: diffkit ema {folder.path} --length 0.1"
    )


def check_same(folder: RunFolder, config: Any) -> None:
    """Raise :class:`~diffkit.DiffkitError` where a run would go on with averages that need a past it did not follow."""
    before, now = folder.read_config()["train"], config.train
    same = _decays(before.get("ema", now.ema))[1:] == _decays(now.ema)[1:]
    if not same or list(before.get("ema_lengths", [])) != list(now.ema_lengths):
        raise DiffkitError(
            f"{folder.path} cannot follow other averages than it began with, since they need its past; leave "
            f"train.ema_lengths as it is, and of train.ema all but the first"
        )


def _decays(ema: Any) -> list[float]:
    return [ema] if isinstance(ema, int | float) else list(ema)


def _profiles(folder: Path) -> dict[Profile, Path]:
    """Return the profiles of all valid snapshots and where each is, the newest first."""
    found: dict[Profile, Path] = {}
    for path in checkpoint.steps(folder):
        try:
            _, numbers = checkpoint.read(path, ())
            for length in numbers["lengths"]:
                exponent(length)
                found.setdefault(Profile(length, numbers["step"]), path)
        except (DiffkitError, KeyError, TypeError):
            continue
    return found
