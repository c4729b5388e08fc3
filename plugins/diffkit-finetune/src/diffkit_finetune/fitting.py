"""Weights of one network fitted to another that differs by its data alone: its labels, or its size."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from diffkit import DataSpec, generator


@dataclass
class Fitted:
    """What one network can give another, by name; the names of what it cannot; and what to say of both, a line each."""

    tensors: dict[str, Tensor]
    fresh: list[str]
    lines: list[str]


def fit(given: Mapping[str, Tensor], old: DataSpec, net: nn.Module, new: DataSpec) -> Fitted:
    """Return weights for ``net``, a network for ``new``, from the weights ``given`` of one for ``old``."""
    state = net.state_dict()
    tables, lines = label_tables(given, old, net, new)
    tensors, resized, misfit, absent = dict[str, Tensor](), list[str](), list[str](), list[str]()
    places = place_tables(net)
    for name, target in state.items():
        value = tables.get(name, given.get(name))
        if value is None:
            absent.append(name)
            continue
        if value.shape != target.shape and name in places:
            value = resize(value, target.shape, old.shape, new.shape)
            resized.append(name)
        if value.shape == target.shape:
            tensors[name] = value
        else:
            misfit.append(f"{name} ({by(value.shape)} there, {by(target.shape)} here)")
    resized = [name for name in resized if name in tensors]
    for said, names in (
        (f"resized from {by(old.shape)} to {by(new.shape)}", resized),
        ("does not fit, so it starts afresh", misfit),
        ("is new here, so it starts afresh", absent),
        ("is left out", [name for name in given if name not in state]),
    ):
        if names:
            lines.append(f"{said}: {', '.join(names)}")
    return Fitted(tensors, [name for name in state if name not in tensors], lines)


def label_tables(
    given: Mapping[str, Tensor], old: DataSpec, net: nn.Module, new: DataSpec
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tables of labels for ``net``, by name, and what to say of them.

    A table of labels is an embedding with a row for each, and one for the null label. A label of a known name keeps its
    row. Another starts from that of the null label, of which the network knows what to make, moved at random as far as
    known labels are from it: labels that started from the same row would take long to be told apart. Where there were
    none, the null label is zero, so the network starts as it was, and the others stay as they are in ``net``.
    """
    tables: dict[str, Tensor] = {}
    fresh: Sequence[Tensor]
    conditions = tuple(one.name for one in new.conditions)  # which have tables of their own, named after them
    for name, layer in net.named_modules():
        if not (isinstance(layer, nn.Embedding) and new.labels) or (conditions and name.endswith(conditions)):
            continue
        table, rows = given.get(f"{name}.weight"), len(new.labels) + 1
        if layer.num_embeddings != rows or (table is not None and len(table) != len(old.labels) + 1):
            continue
        if table is None:
            table = layer.weight.new_zeros(1, layer.embedding_dim)
            fresh = layer.weight[:-1].unbind()
        else:
            spread = (table[:-1] - table[-1]).square().mean(0).sqrt()
            fresh = [table[-1] + spread * _draw(label, spread) for label in new.labels]
        kept = dict(zip(old.labels, table[:-1], strict=True))
        found = [kept.get(label, row) for label, row in zip(new.labels, fresh, strict=True)]
        tables[f"{name}.weight"] = torch.stack((*found, table[-1]))
    if not tables or old.labels == new.labels:
        return tables, []
    known, others = ([label for label in new.labels if (label in old.labels) is there] for there in (True, False))
    said = [f"known {_some(known)}"] if known else []
    said += [f"new {_some(others)}, {'beside the null label' if old.labels else 'at random'}"] if others else []
    return tables, [f"labels: {'; '.join(said)}"]


def _draw(label: str, like: Tensor) -> Tensor:
    return torch.randn(like.shape, generator=generator("adapt", "label", label)).to(like)


def place_tables(net: nn.Module) -> set[str]:
    """Return the names of what may be a table of learned positions: parameters that are in no layer of torch's."""
    found = set()
    for prefix, module in net.named_modules():
        containers = (nn.Embedding, nn.ParameterList, nn.ParameterDict)
        if isinstance(module, containers) or not type(module).__module__.startswith("torch.nn"):
            found |= {f"{prefix}.{name}".lstrip(".") for name, _ in module.named_parameters(recurse=False)}
    return found


def resize(value: Tensor, shape: Sequence[int], old: Sequence[int], new: Sequence[int]) -> Tensor:
    """Return a table of positions stretched to ``shape``, linearly along each axis; itself where it is none.

    An axis of the table is an axis of the data, in steps of a patch, or all of them in one, the last running fastest.
    """
    if len(value.shape) != len(shape):
        return value
    axes = [axis for axis, (a, b) in enumerate(zip(value.shape, shape, strict=True)) if a != b]
    if all(_stretched(value.shape[axis], shape[axis], zip(old, new, strict=True)) for axis in axes):
        for axis in axes:
            value = _stretch(value, axis, shape[axis])
        return value
    if len(axes) != 1:
        return value
    (axis,) = axes
    before, after = _grid(value.shape[axis], old), _grid(shape[axis], new)
    if before is None or after is None:
        return value
    value = value.reshape(*value.shape[:axis], *before, *value.shape[axis + 1 :])
    for offset, side in enumerate(after):
        value = _stretch(value, axis + offset, side)
    return value.flatten(axis, axis + len(after) - 1)


def _stretched(a: int, b: int, sides: Iterable[tuple[int, int]]) -> bool:
    """Return whether ``a`` and ``b`` are both sides of the data, before and after, in steps of one patch."""
    return any(before % a == 0 and a * after == b * before for before, after in sides)


def _grid(count: int, shape: Sequence[int]) -> tuple[int, ...] | None:
    """Return the sides of a grid of ``count`` square patches of ``shape``, or none where there is no such grid."""
    patch = round((prod(shape) / count) ** (1 / len(shape)))
    sides = tuple(side // max(1, patch) for side in shape)
    return sides if prod(sides) == count else None


def _stretch(value: Tensor, axis: int, side: int) -> Tensor:
    rows = value.movedim(axis, -1)
    stretched = interpolate(rows.reshape(1, -1, rows.shape[-1]), side, mode="linear")
    return stretched.reshape(*rows.shape[:-1], side).movedim(-1, axis)


def by(shape: Sequence[int]) -> str:
    """Return a shape as people write it: ``8 x 8``."""
    return " x ".join(map(str, shape)) or "one number"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 12 else f"{', '.join(names[:10])} and {len(names) - 10} more"
