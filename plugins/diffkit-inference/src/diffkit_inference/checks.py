"""The checks an operator passes."""

import torch
from torch import Tensor

from diffkit_inference.operators import Operator, pseudo_inverse


def check_operator(operator: Operator, shape: tuple[int, ...]) -> None:
    """Raise ``AssertionError``, with a sentence that says what is wrong, unless ``operator`` keeps its contract.

    On random items ``(channels, *shape)`` in float64: A is linear and keeps the batch, Aᵀ is its transpose, and solving
    undoes g A Aᵀ + v I and, with v = 0, gives A⁺.
    """
    generator = torch.Generator().manual_seed(0)

    def random(*size: int) -> Tensor:
        return torch.randn(*size, generator=generator, dtype=torch.float64)

    a, b = random(3, *shape), random(3, *shape)
    y = operator.forward(a)
    v, size = random(*y.shape), y.abs().max()

    def same(left: Tensor, right: Tensor, said: str, allowed: float = 1e-8) -> None:
        assert left.shape == right.shape, f"{said}: the shapes are {tuple(left.shape)} and {tuple(right.shape)}"
        assert (left - right).abs().max() <= allowed * max(1.0, size), f"{said}: {(left - right).abs().max():.3g} apart"

    same(operator.forward(2 * a - b), 2 * y - operator.forward(b), "A(2a - b) is not 2 A a - A b")
    same(operator.forward(a[1:2]), y[1:2], "A of an item alone is not A of it in a batch")
    same((y * v).flatten(1).sum(1), (a * operator.adjoint(v)).flatten(1).sum(1), "(A x)ᵀ v is not xᵀ (Aᵀ v)")
    mixed = 0.7 * operator.forward(operator.adjoint(v)) + 0.3 * v
    same(operator.solve(mixed, 0.7, 0.3), v, "solve(·, 0.7, 0.3) does not undo 0.7 A Aᵀ + 0.3")
    back = pseudo_inverse(operator, y)
    same(operator.forward(back), y, "A A⁺ y is not y for a y that A can give", 1e-6)
    same(pseudo_inverse(operator, operator.forward(back)), back, "A⁺ A A⁺ is not A⁺", 1e-6)
