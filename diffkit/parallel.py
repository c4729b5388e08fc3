"""Ranks: the processes that train one model together, each on its share of every batch.

torchrun starts them and torch's own DDP and FSDP2 join their gradients; here is what a loop needs to know of it. A run
by one process is a run by one rank, so there is no second path.
"""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._pytree import tree_leaves

from diffkit.denoiser import Denoiser
from diffkit.errors import DiffkitError

PATIENCE = timedelta(minutes=30)
"""How long ranks wait for one that samples or saves before they give it up."""
HANDED = ("_parameters", "_buffers")
"""What of a module's attributes the first rank hands to the others."""


@dataclass(frozen=True)
class Ranks:
    """Which of the processes this one is, and what they do together.

    Attributes:
        rank: this process's number, from 0; rank 0 alone prints and writes.
        size: how many there are.
    """

    rank: int = 0
    size: int = 1

    @property
    def first(self) -> bool:
        """Whether this is the rank that prints and writes."""
        return self.rank == 0

    def share(self, batch: int) -> range:
        """Return which rows of a batch of ``batch`` are this rank's.

        Raises:
            DiffkitError: where they cannot be shared out evenly.
        """
        if batch % self.size:
            raise DiffkitError(
                f"a batch of {batch} cannot be shared out evenly among {self.size} ranks; give a multiple: "
                f"train.batch_size={-(-batch // self.size) * self.size}"
            )
        rows = batch // self.size
        return range(self.rank * rows, (self.rank + 1) * rows)

    def mean(self, value: Tensor) -> Tensor:
        """Return the mean of a value over the ranks."""
        return self._reduced(value, dist.ReduceOp.SUM) / self.size if self.size > 1 else value

    def least(self, value: int) -> int:
        """Return the smallest of a number over the ranks."""
        return int(self._reduced(torch.tensor(value, device=_device()), dist.ReduceOp.MIN)) if self.size > 1 else value

    def any(self, said: bool) -> bool:
        """Return whether any rank says so."""
        return -self.least(-int(said)) > 0

    def told(self, value: Any) -> Any:
        """Return what rank 0 has for ``value``: words or numbers."""
        if self.size == 1:
            return value
        told = [value]
        dist.broadcast_object_list(told, src=0)
        return told[0]

    def gathered(self, value: str) -> list[str]:
        """Return what every rank has for ``value``, by rank."""
        if self.size == 1:
            return [value]
        values = [""] * self.size
        dist.all_gather_object(values, value)
        return values

    def beside(self) -> Any:
        """Return a group of all ranks for what they do together beside the training; all have to ask for it."""
        return dist.new_group(backend="gloo", timeout=PATIENCE)

    def wait(self) -> None:
        """Wait until every rank is here."""
        self.least(0)

    @contextmanager
    def in_turn(self) -> Iterator[None]:
        """Let rank 0 do something before the others do it."""
        if not self.first:
            self.wait()
        yield
        if self.first:
            self.wait()

    def _reduced(self, value: Tensor, how: Any) -> Tensor:
        value = value.detach().clone()
        dist.all_reduce(value, how)
        return value


ALONE = Ranks()


@cache
def join_ranks() -> Ranks:
    """Return the ranks that torchrun started, joined; one alone where it did not.

    NCCL carries what is on GPUs, of which each rank gets its own, and gloo what is on hosts.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    return Ranks(dist.get_rank(), size)


def _device() -> torch.device:
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


class Loss(nn.Module):
    """A denoiser's losses as a module's forward pass, which is what DDP joins."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__()
        self.denoiser = denoiser

    def forward(self, x0: Tensor, t: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return the loss of each item, ``(batch,)``."""
        return self.denoiser.losses(x0, t=t, noise=noise, **cond)

    def joined(self, _last: bool) -> AbstractContextManager[Any]:
        """Return the context of a backward pass: gradients are joined in the last of a step."""
        return nullcontext()


class ReplicatedLoss(Loss):
    """The same with a whole model on every rank: DDP. Li et al., "PyTorch Distributed" (2020)."""

    def __init__(self, denoiser: Denoiser) -> None:
        super().__init__(denoiser)
        self.ddp = [nn.parallel.DistributedDataParallel(Loss(denoiser), gradient_as_bucket_view=True)]

    def forward(self, x0: Tensor, t: Tensor, noise: Tensor, cond: dict[str, Tensor]) -> Tensor:
        """Return the loss of each item of this rank, ``(batch,)``."""
        return self.ddp[0](x0, t, noise, cond)

    def joined(self, last: bool) -> AbstractContextManager[Any]:
        """Return DDP's own context, which waits with the exchange until the last backward pass of a step."""
        return nullcontext() if last else self.ddp[0].no_sync()


class ShardedLoss(Loss):
    """The same with parameters, gradients and the optimizer's state in shards: FSDP2.

    There is one a rank, or where ``parallel`` is ``hsdp``, one a rank of each node, with the same on all nodes: what is
    gathered then stays within a node, and only gradients of shards go between them.

    Every child of a list of layers is a unit that is gathered for its own pass, and the network as a whole another.
    What the shards hold is the first rank's; the network of any other may be :func:`hollow`.
    Zhao et al., "PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel" (2023).
    """

    def __init__(self, denoiser: Denoiser, precision: str, parallel: str = "fsdp") -> None:
        super().__init__(denoiser)
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        weighting = denoiser.weighting
        if isinstance(weighting, nn.Module) and any(p.requires_grad for p in weighting.parameters()):
            raise DiffkitError(
                f"parallel={parallel} shards the network, but not a weighting that learns; choose another weighting, "
                f"or parallel=ddp"
            )
        for name, parameter in denoiser.net.named_parameters():
            if not parameter.ndim:
                raise DiffkitError(
                    f"parallel={parallel} divides parameters along their first axis, and {name} of this network is a "
                    f"number without one; give it one, torch.zeros(1), or choose parallel=ddp"
                )
        warnings.filterwarnings("ignore", "FSDP2-wrapped module")  # that outputs are views, which here are only read
        lower = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision)
        policy = MixedPrecisionPolicy(
            param_dtype=lower,
            reduce_dtype=torch.float32 if lower else None,
            cast_forward_inputs=False,  # autocast does; λ and angles stay what they are
        )
        chosen: dict[str, Any] = {"mp_policy": policy}
        if parallel == "hsdp":
            chosen["mesh"] = _by_node()
        values = {name: parameter.detach() for name, parameter in denoiser.net.named_parameters()}
        for layer in _units(denoiser.net):
            fully_shard(layer, **chosen)
        fully_shard(denoiser.net, **chosen)
        _hand_out(denoiser.net, values)

    def joined(self, last: bool) -> AbstractContextManager[Any]:
        """Say whether the backward pass to come reduces gradients."""
        net: Any = self.denoiser.net
        net.set_requires_gradient_sync(last)
        return nullcontext()


def _units(net: nn.Module) -> list[nn.Module]:
    """Return the children of lists of layers, innermost first: those that have parameters, and are called."""
    found = []
    for layers in reversed(list(net.modules())):  # a module comes after those that it is within
        if isinstance(layers, nn.ModuleList) and not isinstance(layers, ParametrizationList):
            found += [
                layer
                for layer in layers
                if not isinstance(layer, nn.ModuleList | nn.ModuleDict) and any(True for _ in layer.parameters())
            ]
    return found


def _by_node() -> Any:
    """Return the ranks by node, and by place in it."""
    from torch.distributed.device_mesh import init_device_mesh

    size = dist.get_world_size()
    each = int(os.environ.get("LOCAL_WORLD_SIZE", size))
    if size % each:
        raise DiffkitError(
            f"parallel=hsdp needs as many ranks on every node, and {size} are not {each} on each; give parallel=fsdp"
        )
    return init_device_mesh(_device().type, (size // each, each), mesh_dim_names=("replicate", "shard"))


@torch.no_grad()
def _hand_out(net: Any, values: dict[str, Tensor]) -> None:
    """Give every rank its shards of the first rank's parameters, one after another, and the buffers as they are."""
    from torch.distributed.tensor import distribute_tensor

    empty = hollow(net)
    if empty:
        net.to_empty(device=next(net.parameters()).device_mesh.device_type)
    for name, parameter in net.named_parameters():
        value = values.pop(name)
        if value.is_meta:
            value = torch.empty_like(value, device=parameter.to_local().device)
        shard: Any = distribute_tensor(value, parameter.device_mesh, parameter.placements)
        parameter.to_local().copy_(shard.to_local())
    for buffer in net.buffers():
        sent = buffer.contiguous()
        dist.broadcast(sent, 0)
        if empty:
            buffer.copy_(sent)


def hollow(net: nn.Module) -> bool:
    """Return whether a network is on the meta device: it has layers and shapes, but no values, and takes no memory."""
    return any(parameter.is_meta for parameter in net.parameters())


def hollowed(build: Callable[[], nn.Module]) -> nn.Module:
    """Return a network without values, or with them where it cannot be built without.

    That is one which computes with values as it is built, or keeps tensors that are neither parameters nor buffers.
    """
    try:
        with torch.device("meta"):
            net = build()
    except Exception:  # also what a network refuses for good reason, and will refuse again
        return build()
    own = [{name: value for name, value in vars(part).items() if name not in HANDED} for part in net.modules()]
    return build() if any(isinstance(leaf, Tensor) and leaf.is_meta for leaf in tree_leaves(own)) else net


def loss_of(denoiser: Denoiser, ranks: Ranks, parallel: str, precision: str) -> Loss:
    """Return the losses of a denoiser as ``parallel`` joins them: ``ddp``, ``fsdp`` or ``hsdp``."""
    if ranks.size == 1:
        return Loss(denoiser)
    return ReplicatedLoss(denoiser) if parallel == "ddp" else ShardedLoss(denoiser, precision, parallel)


def whole(value: Tensor) -> Tensor:
    """Return a tensor gathered from all ranks if it is in shards; every one of them has to ask."""
    return value if (shards := _shards(value)) is None else shards.full_tensor()


def local(tensors: Iterable[Tensor]) -> list[Tensor]:
    """Return this rank's own shards of those in shards, and the others as they are."""
    return [value if (shards := _shards(value)) is None else shards.to_local() for value in tensors]


def sharded(tensors: Iterable[Tensor]) -> bool:
    """Return whether any of them is in shards."""
    return any(_shards(value) is not None for value in tensors)


def _shards(value: Tensor | None) -> Any:
    """Return a tensor in shards as itself, a DTensor, and nothing for another; import nothing where ranks are alone."""
    if not dist.is_initialized():
        return None
    from torch.distributed.tensor import DTensor

    return value if isinstance(value, DTensor) else None
