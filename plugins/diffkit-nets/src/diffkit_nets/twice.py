"""Computing again what costs little, so that less is kept for the backward pass.

Autograd keeps what each operation needs. A norm that is scaled and shifted, or a gated activation, is a few elementwise
operations that keep three or four tensors, all of which follow from the first; what they cost again is little beside
the matrix product that comes next.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

Function = Callable[..., Tensor]


def twice(function: Function, *inputs: Tensor) -> Tensor:
    """Return ``function(*inputs)``, of which the inputs alone are kept for the backward pass, which computes it again.

    Gradients of any order, autocast and :mod:`torch.func` work as without. A compiler decides for itself what to keep.

    Args:
        function: of tensors alone; neither chance nor autocast may change its result.
        inputs: see above.
    """
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return function(*inputs)
    return _Twice.apply(function, None, None, None, *inputs)  # type: ignore[no-untyped-call]


def linear_twice(layer: nn.Linear, function: Function, *inputs: Tensor) -> Tensor:
    """Return ``layer(function(*inputs))``, of which only the function is computed again; see :func:`twice`."""
    if torch.compiler.is_compiling() or not torch.is_grad_enabled():
        return layer(function(*inputs))
    device = inputs[0].device.type
    casts = torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)  # the meta device has none
    lower = torch.get_autocast_dtype(device) if casts else None
    return _Twice.apply(function, lower, layer.weight, layer.bias, *inputs)  # type: ignore[no-untyped-call]


class _Twice(torch.autograd.Function):
    """``function(*inputs)``, and a linear layer of it where there are a ``weight`` and a ``bias``.

    Casts to the precision ``lower`` of autocast are its own, so that those of weights are not kept either.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(function: Function, lower: torch.dtype | None, weight: Any, bias: Any, *inputs: Tensor) -> Tensor:
        h = function(*inputs)
        if weight is None:
            return h
        lower = lower or h.dtype
        return linear(h.to(lower), weight.to(lower), None if bias is None else bias.to(lower))

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], _output: Tensor) -> None:
        ctx.function, ctx.lower, *tensors = inputs
        ctx.save_for_backward(*tensors)
        ctx.save_for_forward(*tensors)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Any, ...]:
        weight, bias, *inputs = ctx.saved_tensors
        needed = ctx.needs_input_grad[2:]
        with torch.enable_grad():
            again = [value.view_as(value) for value in inputs]  # where the gradient ends
            h = ctx.function(*again)
        found: list[Tensor | None] = [None, None]
        if weight is not None:
            rows = gradient.flatten(0, -2)
            if needed[0]:
                found[0] = (rows.mT @ h.flatten(0, -2).to(rows.dtype)).to(weight.dtype)
            if needed[1]:
                found[1] = rows.sum(0).to(bias.dtype)
            gradient = (gradient @ weight.to(gradient.dtype)).to(h.dtype)
        wanted = [value for value, need in zip(again, needed[2:], strict=True) if need]
        slopes = torch.autograd.grad(h, wanted, gradient, create_graph=torch.is_grad_enabled()) if wanted else ()
        rest = iter(slopes)
        return None, None, *found, *(next(rest) if need else None for need in needed[2:])

    @staticmethod
    def jvp(ctx: Any, _function: None, _lower: None, *tangents: Tensor | None) -> Tensor:
        tensors = ctx.saved_tensors
        moving = [i for i, tangent in enumerate(tangents) if tangent is not None]

        def moved(*values: Tensor) -> Tensor:
            given = dict(zip(moving, values, strict=True))
            return _Twice.forward(ctx.function, ctx.lower, *(given.get(i, value) for i, value in enumerate(tensors)))

        return torch.func.jvp(moved, tuple(tensors[i] for i in moving), tuple(tangents[i] for i in moving))[1]
