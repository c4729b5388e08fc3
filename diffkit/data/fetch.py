"""Items of a data set, stacked to a batch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from diffkit.contracts.data import Dataset
from diffkit.contracts.network import DataSpec

Batch = tuple[Tensor, dict[str, Tensor]]


def fetch(dataset: Dataset, indices: list[int]) -> Batch:
    """Return the items at ``indices``, stacked, and what is known of them: ``label`` (int64) and each condition."""
    together = getattr(dataset, "__getitems__", None)
    items = together(indices) if together is not None else [dataset[i] for i in indices]
    known = [given if isinstance(given, Mapping) else {"label": given} for _, given in items]
    any_label = len(dataset.spec.labels)
    cond = {"label": torch.tensor([int(given.get("label", any_label)) for given in known])}
    for one in dataset.spec.conditions:
        missing = one.null(dataset.spec.shape, 1)[0]
        cond[one.name] = torch.stack([torch.as_tensor(given.get(one.name, missing)).to(missing) for given in known])
    return torch.stack([x for x, _ in items]), cond


def blank(spec: DataSpec, n: int) -> Batch:
    """Return a batch of ``n`` items of which nothing is known, in the form that :func:`fetch` gives."""
    label = torch.full((n,), len(spec.labels))
    return torch.zeros(n, spec.channels, *spec.shape), {
        "label": label,
        **{one.name: one.null(spec.shape, n) for one in spec.conditions},
    }
