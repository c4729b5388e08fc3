"""What a rank holds and sends under FSDP2, on paper: a transformer of 1 and of 8 billion parameters.

    python benchmarks/scaling.py [--json] [--ranks 8 64 512] [--batch 8]

Nothing of that size is allocated. Networks are built on the meta device, where torch reports their parameters, which
a formula is checked against, and what autograd keeps for the backward pass. What is held and sent is checked against
FSDP2 itself, as ``parallel=fsdp`` sets it up: it takes a step of tensors without contents in a group that sends
nothing, and what it asks the group for is added up. For P parameters, of which B are in blocks, R ranks and bf16 with
float32 reductions, a rank holds

    parameters, gradients, the two averages of AdamW and the EMA, in float32:   20 P / R bytes
    two blocks gathered in bf16, one at work and the next on its way:           4 B / blocks
    what is outside of blocks, gathered in bf16 for the whole of a step:        2 (P - B)
    the gradient of a block before its reduction, in float32:                   4 B / blocks
    activations of its share of the batch, as measured on the meta device in bf16

and sends and receives, a step, (R - 1) / R of the blocks twice in bf16 (forward and backward), of what is outside of
them once, and of all gradients once in float32. Operations are those of torch's counter: three forward passes a step,
four with checkpoints.
"""

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils._python_dispatch import TorchDispatchMode

from diffkit import DataSpec, Denoiser, build
from diffkit.flops import flops, parameters
from diffkit.parallel import ShardedLoss, local

SPEC = DataSpec(channels=16, shape=(64, 64), labels=tuple(str(i) for i in range(1000)))
PATCH = 2
NETS = {"1B": (1408, 28, 22), "8B": (3328, 40, 52)}
"""By name, width, blocks and heads of 64."""
LOW, FULL, STATES = 2, 4, 5
"""Bytes of a value in bf16 and in float32; what is held of a parameter: itself, gradient, two averages, EMA."""
GIB = 2**30


def transformer(name: str, checkpoint: bool) -> nn.Module:
    """Return one of the networks, on the meta device."""
    width, blocks, heads = NETS[name]
    options = {"width": width, "blocks": blocks, "heads": heads, "patch": [PATCH], "checkpoint": checkpoint}
    with torch.device("meta"):
        return build("net", {"name": "dit", **options}, spec=SPEC)


def by_formula(width: int, blocks: int, heads: int) -> int:
    """Return the parameters of a DiT: 18 width² a block and what surrounds them."""
    hidden, depth, side = -(-8 * width // 3 // 8) * 8, SPEC.channels * PATCH**2, SPEC.shape[0] // PATCH
    block = 6 * (width**2 + width) + 4 * width**2 + 2 * width // heads + 3 * width * hidden
    told = (64 + 1) * width + (len(SPEC.labels) + 1) * width + width**2 + width
    ends = (depth + 1) * width + 2 * side * width + 2 * (width**2 + width) + (width + 1) * depth
    return blocks * block + told + ends


def kept(net: nn.Module) -> int:
    """Return the bytes that autograd keeps of one item in bfloat16, parameters aside, each storage counted once."""
    net = net.to(torch.bfloat16)
    own = {p.untyped_storage()._cdata for p in (*net.parameters(), *net.buffers())}
    found: dict[int, Tensor] = {}

    def keep(value: Tensor) -> Tensor:
        storage = value.untyped_storage()
        if storage._cdata not in own:
            found[storage._cdata] = value
        return value

    x = torch.zeros(1, SPEC.channels, *SPEC.shape, device="meta", dtype=torch.bfloat16)
    lam = torch.zeros(1, device="meta", dtype=torch.bfloat16)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        net.train()(x, lam, label=torch.zeros(1, dtype=torch.int64, device="meta"))
    return sum(value.untyped_storage().nbytes() for value in found.values())


class Exchanged(TorchDispatchMode):
    """Adds up the bytes of whole tensors that are gathered from all ranks, or reduced over them."""

    total = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Note a call of the group's."""
        if function.namespace == "c10d":  # of the output and the input, one is whole
            self.total += max(value.nbytes for value in args[:2] if isinstance(value, Tensor))
        return function(*args, **(kwargs or {}))


def by_torch(name: str, ranks: int) -> tuple[float, float]:
    """Return the share of parameters that FSDP2 leaves a rank, and the bytes that a rank sends a step."""
    dist.init_process_group("fake", store=FakeStore(), rank=0, world_size=ranks)
    try:
        net = transformer(name, False)
        ShardedLoss(Denoiser(net, "edm", "edm"), "bf16")
        share = sum(shard.numel() for shard in local(net.parameters())) / parameters(net)
        with FakeTensorMode(allow_non_fake_inputs=True):
            net.to_empty(device="cpu")
            with Exchanged() as exchanged:
                x = torch.zeros(1, SPEC.channels, *SPEC.shape)
                net(x, torch.zeros(1), label=torch.zeros(1, dtype=torch.int64)).float().sum().backward()
    finally:
        dist.destroy_process_group()
    return share, exchanged.total * (ranks - 1) / ranks


def in_blocks(net: nn.Module) -> int:
    """Return the number of parameters in lists of layers, each child of which is a unit of its own."""
    return sum(parameters(layers) for layers in net.modules() if isinstance(layers, nn.ModuleList))


def sent_by(net: nn.Module, ranks: int) -> float:
    """Return the bytes that a rank sends a step, by the formula above."""
    count, inner = parameters(net), in_blocks(net)
    return (ranks - 1) / ranks * (LOW * (count + inner) + FULL * count)


def check(name: str, ranks: int) -> dict[str, Any]:
    """Hold the formulas to what torch does."""
    share, sent = by_torch(name, ranks)
    expected = sent_by(transformer(name, False), ranks)
    assert abs(share * ranks - 1) < 0.01, share
    assert abs(sent / expected - 1) < 0.01, (sent, expected)
    return {"net": name, "ranks": ranks, "share": share, "sent_gib": sent / GIB, "by_formula_gib": expected / GIB}


def rows(name: str, ranks: list[int], batch: int) -> list[dict[str, Any]]:
    """Return the figures of a network, for each number of ranks, with and without checkpoints."""
    width, blocks, heads = NETS[name]
    net = transformer(name, False)
    count, inner, cost = parameters(net), in_blocks(net), flops(net, SPEC)
    assert count == by_formula(width, blocks, heads), (count, by_formula(width, blocks, heads))
    whole = kept(net)
    again = kept(transformer(name, True)) + whole // blocks  # and one block at a time, while it is computed again
    found = []
    for checkpoint, activations in ((False, whole), (True, again)):
        for n in ranks:
            held = STATES * FULL * count / n
            gathered = (2 * LOW + FULL) * inner / blocks + LOW * (count - inner) if n > 1 else 0.0
            sent = sent_by(net, n)
            work = (4 if checkpoint else 3) * cost * batch
            row = {"net": name, "parameters": count, "ranks": n, "checkpoint": checkpoint, "states_gib": held / GIB}
            row |= {"gathered_gib": gathered / GIB, "activations_gib": batch * activations / GIB}
            row |= {"total_gib": (held + gathered + batch * activations) / GIB, "sent_gib": sent / GIB}
            found.append({**row, "tflop": work / 1e12, "flop_per_byte": work / sent if sent else None})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--ranks", type=int, nargs="+", default=[8, 64, 512])
    parser.add_argument("--batch", type=int, default=8, help="items a rank and step")
    arguments = parser.parse_args()
    checked = [check(name, max(2, min(arguments.ranks))) for name in NETS]
    every = [row for name in NETS for row in rows(name, arguments.ranks, arguments.batch)]
    columns: list[tuple[str, Callable[[dict[str, Any]], str]]] = [
        ("net", lambda row: row["net"]),
        ("parameters", lambda row: f"{row['parameters']:,}"),
        ("ranks", lambda row: str(row["ranks"])),
        ("checkpoint", lambda row: "yes" if row["checkpoint"] else "no"),
        *(
            (f"{key} GiB", lambda row, key=key: f"{row[f'{key}_gib']:.2f}")  # type: ignore[misc]
            for key in ("states", "gathered", "activations", "total", "sent")
        ),
        ("TFLOP", lambda row: f"{row['tflop']:.1f}"),
        ("FLOP/byte", lambda row: f"{row['flop_per_byte']:.0f}" if row["flop_per_byte"] else "-"),
    ]
    print("  ".join(f"{name:>15}" for name, _ in columns))
    for row in every:
        print("  ".join(f"{show(row):>15}" for _, show in columns))
    for one in checked:
        print(
            f"{one['net']} on {one['ranks']} ranks, by torch: 1/{1 / one['share']:.3f} of the parameters, "
            f"{one['sent_gib']:.3f} GiB sent; by the formula {one['by_formula_gib']:.3f}"
        )
    if arguments.json:
        print(json.dumps({"rows": every, "checked": checked, "batch": arguments.batch, "torch": torch.__version__}))


if __name__ == "__main__":
    main()
