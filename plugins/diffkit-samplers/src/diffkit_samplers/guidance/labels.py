"""Labels that a guidance names besides the sample's own."""

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit.errors import did_you_mean, listing


def check_told(spec: DataSpec | None, name: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` where the model is known to be told nothing that could be left out."""
    if spec is not None and not spec.told:
        raise DiffkitError(
            f"guidance '{name}' compares the model told a label or a condition with the model told none, but this one "
            f"has no labels and no conditions; choose guidance=none"
        )


def check_labels(spec: DataSpec | None, name: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` where the model is known to have no labels."""
    if spec is not None and not spec.labels:
        raise DiffkitError(f"guidance '{name}' names labels, but the model has no labels; choose guidance=none")


def check_label_given(cond: dict[str, Tensor], name: str) -> None:
    """Raise :class:`~diffkit.DiffkitError` where samples are asked for without a label."""
    if "label" not in cond:
        raise DiffkitError(f"guidance '{name}' guides towards a label; give one (sample.label=3), or guidance=none")


def index_of(label: int | str, spec: DataSpec | None, option: str) -> int:
    """Return the index of a label by name or index.

    Raises:
        DiffkitError: where the model has no such label.
    """
    if spec is None:
        if isinstance(label, int) and label >= 0:
            return label
        raise DiffkitError(f"{option}={label} is a name, but the model does not say what its labels are; give an index")
    if str(label) in spec.labels:
        return spec.labels.index(str(label))
    if isinstance(label, int) and 0 <= label < len(spec.labels):
        return label
    raise DiffkitError(
        f"{option}={label} is not a label of the model{did_you_mean(str(label), spec.labels)}; its labels: "
        f"{listing(spec.labels[:40])} (or an index from 0 to {len(spec.labels) - 1})"
    )


def relabelled(cond: dict[str, Tensor], index: int) -> dict[str, Tensor]:
    """Return ``cond`` with every label replaced by ``index``."""
    return {**cond, "label": torch.full_like(cond["label"], index)}
