"""A bound on the memory that building a model takes, since its config may be a stranger's."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import zip_longest
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from diffkit.errors import DiffkitError
from diffkit.run.folder import CONFIG, RunFolder

ROOM = 256_000_000
"""Bytes that building may take whatever the weights are: for tables that are computed and not saved."""
TIMES = 8
"""How many times the bytes of the weights it may take besides: first values are often computed in several steps."""
EACH = 16_384
"""Bytes that a tensor counts at least: what holds it takes about as much."""
WIDEST = 8
"""Bytes of a value, at most."""


@contextmanager
def bounded(folder: RunFolder) -> Iterator[None]:
    """Refuse to build what could not have the weights that lie in ``folder``, before it takes the memory.

    Raises:
        DiffkitError: where it would take more than such a model could.
    """
    weights = max(_bytes(place) for place in (folder.path, *folder.checkpoints.glob("*")))
    try:
        with _Bound(ROOM + TIMES * weights):
            yield
    except _TooMuch as error:
        beside = f"its weights have {_said(weights)}" if weights else "there are no weights yet"
        raise DiffkitError(
            f"{folder.path / CONFIG} asks for a model of {error} or more, but {beside}; the run is damaged, or not "
            f"what it seems"
        ) from error


class _TooMuch(BaseException):
    """No :class:`Exception`, or whoever builds would take it for an option that does not fit."""


class _Bound(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that are made, and stops before they are more than ``most``."""

    def __init__(self, most: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.most, self.made = most, 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # nothing is compiled within, and torch would import its whole compiler to say so

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        given = kwargs or {}
        if func.is_view or func._schema.is_mutable:
            return func(*args, **given)
        self._check(self.made + _planned(func, args, given))
        made = func(*args, **given)
        self.made += _total(made)
        self._check(self.made)
        return made

    def _check(self, total: int) -> None:
        if total > self.most:
            raise _TooMuch(_said(total))


def _planned(func: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Return the bytes of what an operation is about to make, or 0 where they are few."""
    names = [one.name for one in func._schema.arguments]
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    if "size" in given:
        return prod(given["size"]) * (given.get("dtype") or torch.float32).itemsize
    leaves = tree_leaves((args, kwargs))
    shapes = [reversed(leaf.shape) for leaf in leaves if isinstance(leaf, Tensor)]
    numbers = prod(max(1, abs(leaf)) for leaf in leaves if isinstance(leaf, int))
    most = numbers * prod(map(max, zip_longest(*shapes, fillvalue=1))) if shapes else numbers**2
    return _exactly(func, names, args, kwargs) if most * WIDEST > ROOM else 0


def _exactly(func: Any, names: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]) -> int:
    """Return the bytes of what an operation makes, having it done on the meta device, where it takes none."""
    on_meta = {
        name: torch.device("meta") if name == "device" else None for name in ("device", "pin_memory", "generator")
    }
    changed = {**kwargs, **{name: value for name, value in on_meta.items() if name in names}}
    args, changed = tree_map_only(Tensor, lambda value: value.to("meta"), (args, changed))
    try:
        return _total(func(*args, **changed))
    except RuntimeError:  # what it makes depends on values, or nobody wrote it for that device
        return 0


def _total(made: Any) -> int:
    return sum(EACH + leaf.nbytes for leaf in tree_leaves(made) if isinstance(leaf, Tensor))


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _said(count: float) -> str:
    return f"{count / 1e9:.3g} GB" if count >= 1e8 else f"{count / 1e6:.3g} MB"
