"""The operators against their contract and against plain matrices."""

import pytest
import torch
from diffkit_inference import (
    Blur,
    Dense,
    Downsample,
    LinearOperator,
    Mask,
    Mixing,
    check_operator,
    pseudo_inverse,
    random_projection,
)
from diffkit_inference.krylov import conjugate_gradients, minimal_residuals

from diffkit import DiffkitError


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


KNOWN = normal(3, 4, 6) > 0
OPERATORS = {
    "mask": (Mask(KNOWN), (3, 4, 6)),
    "downsample a sound": (Downsample(3), (2, 12)),
    "downsample a picture": (Downsample(2), (3, 4, 6)),
    "downsample a clip": (Downsample(2), (1, 4, 4, 2)),
    "blur a sound": (Blur(0.6, (9,)), (2, 9)),
    "blur a picture": (Blur(0.5, (4, 6)), (3, 4, 6)),
    "blur a clip": (Blur(0.4, (4, 3, 6)), (1, 4, 3, 6)),
    "mixing": (Mixing(normal(2, 3)), (3, 4, 6)),
    "mixing, one twice": (Mixing(torch.tensor([[1.0, 2.0, 0.0], [1.0, 2.0, 0.0]])), (3, 5)),
    "dense": (Dense(normal(5, 12), (3, 4)), (3, 4)),
    "more rows than columns": (Dense(normal(7, 4), (4,)), (4,)),
    "projection": (random_projection(5, (2, 3, 3)), (2, 3, 3)),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_every_operator_keeps_the_contract(name):
    check_operator(*OPERATORS[name])


def matrix(operator, shape):
    eye = torch.eye(torch.Size(shape).numel(), dtype=torch.float64).reshape(-1, *shape)
    return operator.forward(eye).flatten(1).T


@pytest.mark.parametrize("name", OPERATORS)
def test_the_pseudo_inverse_is_that_of_the_matrix(name):
    operator, shape = OPERATORS[name]
    y = operator.forward(normal(2, *shape)) + normal(*operator.forward(normal(2, *shape)).shape, seed=1)
    expected = y.flatten(1) @ torch.linalg.pinv(matrix(operator, shape), rtol=1e-6).T
    assert torch.allclose(pseudo_inverse(operator, y).flatten(1), expected, rtol=0, atol=1e-7)


def test_an_operator_of_two_methods_solves_by_conjugate_gradients():
    class Differences(LinearOperator):
        def forward(self, x):
            return x[..., 1:] - x[..., :-1]

        def adjoint(self, y):
            zero = y[..., :1] * 0
            return torch.cat((zero, y), -1) - torch.cat((y, zero), -1)

    check_operator(Differences(), (2, 8))


class Wrong(Downsample):
    """One whose transpose is off by a factor."""

    def adjoint(self, y):
        return super().adjoint(y) * 2


def test_a_wrong_transpose_is_noticed():
    with pytest.raises(AssertionError, match="is not xᵀ"):
        check_operator(Wrong(2), (1, 4, 4))


def test_downsampling_takes_means_and_a_mask_takes_values():
    x = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert Downsample(2).forward(x).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert Mask(torch.eye(4, dtype=torch.bool)[None]).forward(x).tolist() == [[0, 5, 10, 15]]


def test_blur_keeps_the_mean_and_is_a_gaussian_in_the_middle():
    dot = torch.zeros(1, 1, 41, dtype=torch.float64)
    dot[..., 20] = 1
    blurred = Blur(2.0, (41,)).forward(dot)[0, 0]
    bell = torch.exp(-((torch.arange(41) - 20.0).double() ** 2) / 8)
    assert torch.allclose(blurred, bell / bell.sum(), atol=1e-8)


def test_a_projection_is_onto_directions_at_right_angles_and_drawn_from_its_seed():
    first, again, other = (random_projection(4, (2, 5), seed).matrix for seed in (0, 0, 1))
    assert torch.allclose(first @ first.T, torch.eye(4, dtype=torch.float64))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other)


def test_conjugate_gradients_solve_each_system_of_a_batch_with_steps_of_its_own():
    a = normal(3, 6, 6)
    a = a @ a.mT + torch.diag_embed(torch.tensor([[0.1], [1.0], [100.0]]).double().expand(3, 6))
    b = normal(3, 6)
    b[1] = 0
    v = conjugate_gradients(lambda v: torch.einsum("nij,nj->ni", a, v), b, iterations=12)
    assert torch.allclose(torch.einsum("nij,nj->ni", a, v), b, atol=1e-9)
    assert torch.equal(v[1], torch.zeros(6, dtype=torch.float64))


def test_minimal_residuals_solve_what_is_neither_symmetric_nor_positive():
    a, b = normal(3, 6, 6), normal(3, 6)
    b[1] = 0

    def apply(v):
        return torch.einsum("nij,nj->ni", a, v)

    left = [(b - apply(minimal_residuals(apply, b, k))).norm(dim=1) for k in range(1, 9)]
    assert torch.stack([b.norm(dim=1), *left]).diff(dim=0).max() < 1e-9, "what is left never grows"
    assert left[5].max() < 1e-9
    assert left[7].max() < 1e-9, "nor after it is solved"
    assert left[2][0] > 1e-3


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Mask(torch.ones(3)), "boolean"),
        (lambda: Mask(torch.zeros(3, dtype=torch.bool)), "boolean"),
        (lambda: Downsample(0), "give 1 or more"),
        (lambda: Downsample(3).forward(torch.zeros(1, 1, 4, 4)), "do not divide data of 4 x 4"),
        (lambda: Blur(0, (4,)), "above 0"),
        (lambda: Dense(torch.ones(2, 3), (4,)), "give one with 4 columns"),
        (lambda: random_projection(5, (4,)), "give 1 to 4"),
    ],
)
def test_what_is_no_operator_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()
