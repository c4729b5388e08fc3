"""How large a network is and how much it computes: parameters, and floating-point operations of a forward pass."""

from math import prod
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from diffkit.contracts.network import DataSpec
from diffkit.data.fetch import blank


def _attention(q: torch.Size, k: torch.Size, v: torch.Size, *_: Any, **__: Any) -> int:
    return 2 * prod(q[:-1]) * k[-2] * (q[-1] + v[-1])


UNCOUNTED = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: _attention}
"""What torch's own counter leaves out."""


def parameters(net: nn.Module) -> int:
    """Return the number of a network's parameters."""
    return sum(parameter.numel() for parameter in net.parameters())


def flops(net: nn.Module, spec: DataSpec) -> int:
    """Return the floating-point operations of one forward pass for one item, two for a multiplication and addition.

    Those of matrix products, convolutions and attention are counted, as usual; a training step costs about three
    times as many, and four where blocks are computed again. The network may be on the meta device, where it needs no
    memory; its mode is kept.

    Args:
        net: a network.
        spec: what it models; it is told of everything that is missing.
    """
    device = next(net.parameters()).device
    x, cond = blank(spec, 1)
    told = {name: value.to(device) for name, value in cond.items() if name in spec.told}
    training = net.training
    try:
        with torch.no_grad(), FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as counter:
            net.eval()(x.to(device), torch.zeros(1, device=device), **told)
    finally:
        net.train(training)
    return int(counter.get_total_flops())


PEAKS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12, "V100": 125e12}
"""Dense half-precision operations a second by the maker's data sheets."""


def peak(device: torch.device, precision: str) -> float | None:
    """Return the most operations a second of a device in half precision, or nothing where it is not known."""
    if device.type != "cuda" or precision == "fp32":
        return None
    name = torch.cuda.get_device_name(device)
    return next((value for part, value in PEAKS.items() if part in name), None)
