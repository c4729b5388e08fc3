"""Training steps of our networks beside networks of diffusers of as many parameters: time, and memory kept.

    python benchmarks/nets.py [--peers] [--json] [--pairs 9] [--batch 8] [--precision fp32 bf16] [NET …]

A step is forward, loss, backward and AdamW on a batch of 32x32 pictures in three channels. Both networks of a pair run
in turn, so that a machine that slows down slows both; the ratio of times is the median of the pairs', and, since
whatever else the machine does only adds to a time, that of the least of each. Memory is what autograd keeps for the
backward pass, parameters aside, counted once a storage; on a GPU, ``--device cuda``, it is the peak of what is
allocated. Without ``--peers``, which needs diffusers, ours are timed alone.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DataSpec, build

SPEC = DataSpec(channels=3, shape=(32, 32), labels=tuple("0123456789"))
NETS: dict[str, dict[str, Any]] = {
    "unet": {"name": "unet", "width": 48, "attention": [1, 2]},
    "edm2": {"name": "edm2", "width": 40, "attention": [1, 2]},
    "convnext": {"name": "convnext", "width": 64},
    "dit": {"name": "dit", "width": 384, "heads": 6, "blocks": 6, "patch": [2]},
    "uvit": {"name": "uvit", "width": 384, "heads": 6, "blocks": 7, "patch": [2]},
}
"""What is timed, by name: a network's options."""


class Steps:
    """A network in training: each call is a step.

    Args:
        net: the network.
        call: ``call(net, x, lam, label)`` returns its output.
        device: where.
        precision: ``fp32``, or ``bf16`` for autocast.
    """

    def __init__(
        self, net: nn.Module, call: Callable[..., Tensor], device: torch.device, precision: str, batch: int
    ) -> None:
        self.net, self.call, self.device = net.to(device).train(), call, device
        self.context = nullcontext() if precision == "fp32" else torch.autocast(device.type, torch.bfloat16)
        self.optimizer = torch.optim.AdamW(net.parameters(), 1e-4, foreach=True)
        self.x, self.target = torch.randn(2, batch, SPEC.channels, *SPEC.shape, device=device)
        self.lam = torch.linspace(-3, 3, batch, device=device)
        self.label = (torch.arange(batch) % len(SPEC.labels)).to(device)

    def loss(self) -> Tensor:
        """Return the loss of one forward pass."""
        with self.context:
            output = self.call(self.net, self.x, self.lam, self.label)
        return (output.float() - self.target).square().mean()

    def __call__(self) -> None:
        """Take a step."""
        self.optimizer.zero_grad(set_to_none=True)
        self.loss().backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    @property
    def parameters(self) -> int:
        """The number of parameters."""
        return sum(p.numel() for p in self.net.parameters())

    def memory(self) -> float:
        """Return the MiB that a step keeps; see above."""
        if self.device.type == "cuda":
            self()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            self()
            return (torch.cuda.max_memory_allocated() - before) / 2**20
        own = {p.untyped_storage().data_ptr() for p in self.net.parameters()}
        kept: dict[int, int] = {}

        def keep(value: Tensor) -> Tensor:
            storage = value.untyped_storage()
            if storage.data_ptr() not in own:
                kept[storage.data_ptr()] = storage.nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = self.loss()
        del loss
        return sum(kept.values()) / 2**20


def by_turns(functions: list[Callable[[], None]], count: int) -> list[list[float]]:
    """Return ``count`` seconds of each function, which run in turn, in an order that alternates."""
    for function in functions:
        function()
    times: list[list[float]] = [[] for _ in functions]
    for i in range(count):
        for at in range(len(functions)) if i % 2 else reversed(range(len(functions))):
            began = time.perf_counter()
            functions[at]()
            times[at].append(time.perf_counter() - began)
    return times


def ours(net: nn.Module, x: Tensor, lam: Tensor, label: Tensor) -> Tensor:
    """Return what a network of ours says."""
    return net(x, lam, label=label)


def compare(name: str, device: torch.device, precision: str, batch: int, count: int, peers: bool) -> dict[str, Any]:
    """Return the figures of one network, and of its peer where there is one."""
    torch.manual_seed(0)
    runs = [Steps(build("net", NETS[name], spec=SPEC), ours, device, precision, batch)]
    if peers:
        from peer_nets import PEERS

        if name in PEERS:
            runs.append(Steps(*PEERS[name](SPEC, runs[0].parameters), device, precision, batch))
    memory = [run.memory() for run in runs]
    times = by_turns(runs, count)
    row: dict[str, Any] = {"net": name, "precision": precision, "parameters": runs[0].parameters}
    row |= {"ms": 1e3 * statistics.median(times[0]), "mib": memory[0]}
    if len(runs) > 1:
        row |= {"peer_parameters": runs[1].parameters, "peer_ms": 1e3 * statistics.median(times[1])}
        row |= {"peer_mib": memory[1], "time_ratio": statistics.median(a / b for a, b in zip(*times, strict=True))}
        row |= {"least_time_ratio": min(times[0]) / min(times[1]), "memory_ratio": memory[0] / memory[1]}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nets", nargs="*", metavar="NET", default=list(NETS), help=f"of {', '.join(NETS)}")
    parser.add_argument("--peers", action="store_true", help="time networks of diffusers beside ours")
    parser.add_argument("--json", action="store_true", help="print one JSON object on the last line")
    parser.add_argument("--pairs", type=int, default=9, help="how many steps of each to time")
    parser.add_argument("--batch", type=int, default=8, help="how many pictures a step sees")
    parser.add_argument("--precision", nargs="+", choices=("fp32", "bf16"), default=("fp32", "bf16"))
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    arguments = parser.parse_args()
    rows = []
    for name in arguments.nets:
        for precision in arguments.precision:
            row = compare(
                name, torch.device(arguments.device), precision, arguments.batch, arguments.pairs, arguments.peers
            )
            rows.append(row)
            text = f"{name:10} {precision} {row['parameters'] / 1e6:6.2f} M {row['ms']:8.1f} ms {row['mib']:7.1f} MiB"
            if "peer_ms" in row:
                text += f"   peer {row['peer_parameters'] / 1e6:6.2f} M {row['peer_ms']:8.1f} ms"
                text += f" {row['peer_mib']:7.1f} MiB   ratios {row['time_ratio']:.3f}"
                text += f" (least {row['least_time_ratio']:.3f}) {row['memory_ratio']:.3f}"
            print(text, flush=True)
    if arguments.json:
        print(json.dumps({"rows": rows, "threads": torch.get_num_threads(), "torch": torch.__version__}))


if __name__ == "__main__":
    main()
