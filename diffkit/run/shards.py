"""Tensors in shards on the disk: of what FSDP2 divides among ranks, each writes and reads its own part.

torch.distributed.checkpoint plans who writes what, and which parts of which files a rank needs now. Files are laid out
as its own sharded safetensors: ``model-00001-of-00008.safetensors`` says in its header where in the whole each of its
tensors begins. (What it writes by default keeps a pickle, and nothing in a run is one.)
"""

import json
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import safe_open
from safetensors.torch import save
from torch import Tensor
from torch.distributed.checkpoint import state_dict_saver
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.planner_helpers import create_read_items_for_chunk_list
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from diffkit.errors import DiffkitError
from diffkit.parallel import local, sharded
from diffkit.run import durable

PLACES, FIRST = "DCP_SHARDING_INFO", "saved_offsets"
"""Where in the header, in torch's words, it is said where in the whole a tensor begins."""


def write(
    tensors: Mapping[str, Mapping[str, Tensor]],
    begin: Callable[[], Path],
    finish: Callable[[dict[str, str]], None],
    group: Any,
) -> None:
    """Write the tensors of all ranks of ``group``, each of which calls this with its own, in shards or not.

    Those that are not in shards are the first rank's.

    Args:
        tensors: by file and name, on the host.
        begin: called on the first rank, makes the folder to write into.
        finish: called on the first rank with the checksum of every file, once all ranks have written.
        group: of processes that can send what is on hosts, and of which nothing else makes use.

    Raises:
        DiffkitError: on every rank, where one could not write.
    """
    first = torch.distributed.get_rank(group) == 0
    state = {
        f"{file}/{name}": value
        for file, values in tensors.items()
        for name, value in values.items()
        if first or sharded([value])
    }
    planner = DefaultSavePlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
    try:
        state_dict_saver.save(state, storage_writer=_Files(begin, finish), planner=planner, process_group=group)
    except CheckpointException as error:
        rank, (why, _) = next(iter(error.failures.items()))
        raise DiffkitError(f"rank {rank}: {getattr(why, 'strerror', None) or str(why) or 'out of memory'}") from error
    except RuntimeError as error:
        raise DiffkitError(f"another rank has ended: {str(error).splitlines()[0]}") from error


class _Files(StorageWriter):
    """What torch writes to: a folder of the first rank's making, and a file for each rank and kind of tensor."""

    def __init__(self, begin: Callable[[], Path], finish: Callable[[dict[str, str]], None]) -> None:
        self.begin, self.done = begin, finish

    def reset(self, checkpoint_id: Any = None) -> None:
        """Do nothing: a writer writes once."""

    def set_up_storage_writer(self, is_coordinator: bool, *_: Any, **__: Any) -> None:
        """Do nothing: the folder is made once everyone's plan is known to be good."""

    @classmethod
    def validate_checkpoint_id(cls, _: Any) -> bool:
        """Return that the folder is not chosen by an id."""
        return False

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Return the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Make the folder, and tell each rank of it and which of how many it is."""
        part = self.begin()
        return [replace(plan, storage_data=(part, i, len(plans))) for i, plan in enumerate(plans, 1)]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Write this rank's files, and return their checksums."""
        part, rank, ranks = plan.storage_data
        files: dict[str, dict[str, Tensor]] = defaultdict(dict)
        places: dict[str, dict[str, Any]] = defaultdict(dict)
        items: list[Any] = plan.items
        for item in items:
            file, _, name = item.index.fqn.partition("/")
            value: Any = planner.resolve_data(item)
            if value.numel() or value.shape == item.tensor_data.size:  # of few rows some ranks have none
                files[file][name] = value.detach().contiguous()
                places[file][name] = {FIRST: list(item.index.offset)}
        written = []
        for file, values in files.items():
            name = f"{file}-{rank:05d}-of-{ranks:05d}.safetensors"
            data = save(values, {PLACES: json.dumps(places[file], sort_keys=True)})
            written.append(WriteResult(MetadataIndex(name), len(data), durable.put(part / name, data)))
        future: Future[list[WriteResult]] = Future()
        future.set_result(written)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Finish the folder."""
        self.done({result.index.fqn: result.storage_data for written in results for result in written})


class _Chunk(NamedTuple):
    place: ChunkStorageMetadata
    file: Any


def read(files: Sequence[Path], like: Callable[[str], Tensor | None] | None = None) -> dict[str, Tensor]:
    """Return the tensors that shards make up, or of those that are in shards now, this rank's own.

    Args:
        files: with shards, or with whole tensors.
        like: the tensor, by name, in whose way one shall be in shards, if it is of the same shape.

    Raises:
        ValueError: where there are none, or they do not make up a whole.
    """
    if not files:
        raise ValueError("a file is not listed")
    with ExitStack() as stack:
        chunks: dict[str, list[_Chunk]] = defaultdict(list)
        for path in files:
            file = stack.enter_context(safe_open(path, "pt"))
            places = json.loads((file.metadata() or {}).get(PLACES, "{}"))
            for name in file.keys():  # noqa: SIM118
                sizes = file.get_slice(name).get_shape()
                first = places[name][FIRST] if places else [0] * len(sizes)
                chunks[name].append(_Chunk(ChunkStorageMetadata(torch.Size(first), torch.Size(sizes)), file))
        return {name: _joined(name, found, like(name) if like else None) for name, found in chunks.items()}


def _joined(name: str, chunks: list[_Chunk], like: Any) -> Tensor:
    places = [chunk.place for chunk in chunks]
    ends = [[first + size for first, size in zip(p.offsets, p.sizes, strict=True)] for p in places]
    size = [max(along) for along in zip(*ends, strict=True)]
    if sum(math.prod(p.sizes) for p in places) != math.prod(size) or min((0, *(o for p in places for o in p.offsets))):
        raise ValueError(f"the shards of {name} do not make up a whole")
    dtype = _part(chunks[0].file, name, [0] * len(size), [0] * len(size)).dtype
    if like is not None and sharded([like]) and list(like.shape) == size:
        joined: Any = torch.zeros_like(like, dtype=dtype)
        own = joined.__create_chunk_list__()
    else:
        joined = torch.zeros(size, dtype=dtype)
        own = [ChunkStorageMetadata(torch.Size([0] * len(size)), torch.Size(size))]
    into = local([joined])[0]
    known = TensorStorageMetadata(TensorProperties(dtype), torch.Size(size), places)
    for item in create_read_items_for_chunk_list(name, known, own):
        assert item.storage_index.index is not None
        part = _part(chunks[item.storage_index.index].file, name, item.storage_offsets, item.lengths)
        into[_slices(item.dest_offsets, item.lengths)].copy_(part)
    return joined


def _part(file: Any, name: str, first: Sequence[int], lengths: Sequence[int]) -> Tensor:
    part: Tensor = file.get_slice(name)[_slices(first, lengths)] if len(first) else file.get_tensor(name)
    return part


def _slices(first: Sequence[int], lengths: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(start, start + length) for start, length in zip(first, lengths, strict=True))
