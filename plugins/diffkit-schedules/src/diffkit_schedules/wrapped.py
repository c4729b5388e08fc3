"""What wrappers of schedules share: finding the one that they wrap."""

from collections.abc import Mapping
from typing import Any

import torch

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.schedule import Schedule

LOOKED_AT = 1001


def find_base(base: Any, spec: DataSpec | None) -> Schedule:
    """Return the schedule that ``base`` is, or names, or describes as a mapping of ``name`` and options.

    Raises:
        DiffkitError: where it is none, or its λ does not fall strictly.
    """
    schedule = build("schedule", base, spec=spec) if isinstance(base, str | Mapping) else base
    if not isinstance(schedule, Schedule):
        raise DiffkitError(
            f"base={base!r} is no schedule; give the name of one, such as base=cosine, or a name and options, such as "
            f"base={{name: flow, shift: 3}}"
        )
    t = torch.linspace(0, 1, LOOKED_AT, dtype=torch.float64)
    lam = schedule.lam(t)
    rising = ~(lam.diff() < 0)
    if rising.any():
        raise DiffkitError(
            f"base={type(schedule).__name__} is not monotone: its λ does not fall after t={t[:-1][rising][0]:g}; give "
            f"a schedule whose λ is strictly decreasing and finite, such as base=cosine"
        )
    return schedule


def lam_ends(schedule: Schedule) -> tuple[float, float]:
    """Return λ at t=1 and at t=0."""
    last, first = schedule.lam(torch.tensor([1.0, 0.0], dtype=torch.float64)).tolist()
    return last, first
