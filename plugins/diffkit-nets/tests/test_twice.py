"""What is computed twice: the same values and gradients, and less that is kept for the backward pass."""

import pytest
import torch
from diffkit_nets import DiT, UViT
from diffkit_nets.transformer import gated, normalised, turns
from diffkit_nets.twice import linear_twice, twice
from torch import nn
from torch.nn.functional import linear, scaled_dot_product_attention, silu

from diffkit import DataSpec

WIDTH, HEADS, POSITIONS = 48, 3, 20


def perturbed(layer, by=0.1):
    """Return ``layer`` with all its parameters moved, so that nothing is zero."""
    for parameter in layer.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return layer


def plain_branches(block, x, vectors, rotation):
    """Return the block's output by the textbook, for (scale, shift, gate) of both its branches."""
    attention, hidden = block.attention, block.gated
    (scale, shift, gate), (scale2, shift2, gate2) = vectors
    h = nn.functional.layer_norm(x, x.shape[-1:]) * scale + shift
    q, k, v = attention.qkv(h)[:, 0].unflatten(-1, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
    cos, sin = rotation[:, 0].unbind(-1)

    def turned(each, scale):
        a, b = nn.functional.layer_norm(each, each.shape[-1:], scale).unflatten(-1, (-1, 2)).unbind(-1)
        return torch.stack((a * cos - b * sin, b * cos + a * sin), -1).flatten(-2)

    gathered = scaled_dot_product_attention(turned(q, attention.scales[0]), turned(k, attention.scales[1]), v)
    x = x + gate * attention.gathered(gathered.transpose(1, 2).flatten(2))[:, None]
    h = nn.functional.layer_norm(x, x.shape[-1:]) * scale2 + shift2
    return x + gate2 * hidden.leave(hidden.value(h) * silu(hidden.gate(h)))


def of_dit(block, x, vector, rotation):
    scale, shift, gate, scale2, shift2, gate2 = block.modulation(vector).chunk(6, -1)
    return plain_branches(block, x, ((1 + scale, shift, gate), (1 + scale2, shift2, gate2)), rotation)


def of_uvit(block, x, earlier, rotation):
    x = block.join(torch.cat((x, earlier), -1))
    branches = [(norm.weight, norm.bias, 1) for norm in (block.norm, block.second)]
    return plain_branches(block, x, branches, rotation)


def block_and_inputs(network):
    """Return the last block of a small network for 5 x 4 positions, and its inputs."""
    torch.manual_seed(0)
    net = perturbed(network(DataSpec(1, (5, 4)), width=WIDTH, heads=HEADS, blocks=3, patch=[1]))
    count = POSITIONS + (network is UViT)
    x, earlier = torch.randn(2, 2, 1, count, WIDTH)
    rotation = turns(net.angles)
    if network is DiT:
        return net.blocks[-1], (x, torch.randn(2, 1, 1, WIDTH), rotation)
    return net.blocks[-1], (x, rotation, earlier)


@pytest.mark.parametrize(("network", "reference"), [(DiT, of_dit), (UViT, of_uvit)], ids=["dit", "uvit"])
@pytest.mark.parametrize("precision", ["fp64", "fp32", "bf16"])
def test_a_block_has_the_values_and_gradients_of_the_textbook(network, reference, precision):
    block, inputs = block_and_inputs(network)
    kind = torch.float64 if precision == "fp64" else torch.float32
    block.to(kind)
    x, second, third = (
        tuple(part.to(kind) for part in each) if isinstance(each, tuple) else each.to(kind).requires_grad_()
        for each in inputs
    )
    told = (second, third) if network is DiT else (third, second)
    slope, found = torch.randn_like(x), []
    wanted = [x, told[0], *block.parameters()]
    for y in (reference(block, x, *told), None):
        if y is None:
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                y = block(x, second, third)
        found.append([y, *torch.autograd.grad(y, wanted, slope.to(y.dtype))])
    bound = {"fp64": 1e-13, "fp32": 1e-5, "bf16": 0.03}[precision]
    for plain, ours in zip(*found, strict=True):
        assert (ours - plain).norm() <= bound * plain.norm()


@pytest.mark.parametrize("network", [DiT, UViT])
def test_a_block_keeps_the_least_that_no_matrix_product_has_to_be_repeated_for(network):
    block, inputs = block_and_inputs(network)
    inputs[0].requires_grad_()
    own = {parameter.untyped_storage().data_ptr() for parameter in block.parameters()}
    sizes = {}

    def keep(value):
        if value.untyped_storage().data_ptr() not in own:
            sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        return value

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
        block(*inputs)
    features = inputs[0].untyped_storage().nbytes()
    hidden = block.gated.leave.in_features / WIDTH
    # inputs of both norms, queries, keys and values, those turned, what was gathered, the second norm, the hidden
    # layers, and what the gates are multiplied by, or what was joined
    expected = 2 + 3 + 2 + 1 + 1 + 2 * hidden + 2
    assert sum(sizes.values()) / features < expected + 0.6  # rotations, vectors and sums over features


class Thrifty(nn.Module):
    """A layer of a function of a function, both computed twice."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 3).double()

    def forward(self, x):
        return linear_twice(self.layer, gated, x, twice(torch.sin, x))


def functions():
    """Return what is computed, with and without keeping less, of a matrix and a layer's parameters."""
    torch.manual_seed(0)
    thrifty = Thrifty()

    def ours(x, weight, bias):
        return torch.func.functional_call(thrifty, {"layer.weight": weight, "layer.bias": bias}, (x,))

    values = (torch.randn(2, 2, 4, dtype=torch.float64), *(value.detach() for value in thrifty.parameters()))
    return ours, lambda x, weight, bias: linear(gated(x, torch.sin(x)), weight, bias), values


def test_gradients_of_gradients_are_right():
    thrifty, _, values = functions()
    inputs = [value.requires_grad_() for value in values]
    assert torch.autograd.gradcheck(thrifty, inputs)
    assert torch.autograd.gradgradcheck(thrifty, inputs)


def test_function_transforms_go_through():
    thrifty, plain, (x, *parameters) = functions()
    for transform in (
        lambda f: torch.vmap(torch.func.grad(lambda x: f(x).square().sum()))(x),
        lambda f: torch.func.jvp(f, (x,), (x.cos(),))[1],
    ):
        ours, expected = (transform(lambda x, f=f: f(x, *parameters)) for f in (thrifty, plain))
        assert torch.allclose(ours, expected)


def test_what_is_frozen_gets_no_gradient_and_inputs_that_depend_on_each_other_get_all_of_theirs():
    torch.manual_seed(0)
    layer = nn.Linear(6, 5)
    layer.weight.requires_grad_(False)
    x = torch.randn(4, 6, requires_grad=True)
    scale, shift = x.sin(), x.cos()
    for _ in range(2):
        ours, plain = linear_twice(layer, normalised, x, scale, shift), layer(normalised(x, scale, shift))
        (a, b), (c, d) = (
            torch.autograd.grad(y.sum(), (x, layer.bias), retain_graph=True, create_graph=True) for y in (ours, plain)
        )
        assert torch.allclose(a, c, atol=1e-5)
        assert torch.equal(b, d)
    assert layer.weight.grad is None


def test_nothing_is_computed_twice_without_gradients():
    calls = []

    def counted(x):
        calls.append(1)
        return x.sin()

    x = torch.ones(3, requires_grad=True)
    twice(counted, x).sum().backward()
    assert len(calls) == 2
    with torch.no_grad():
        assert twice(counted, x).grad_fn is None
    assert len(calls) == 3


def test_a_transformer_is_one_graph():
    torch.manual_seed(0)
    net = perturbed(DiT(DataSpec(1, (4, 4), ("a", "b")), width=24, heads=2, blocks=1)).train()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    x, lam = torch.randn(2, 1, 4, 4), torch.zeros(2)
    assert torch.allclose(compiled(x, lam), net(x, lam), atol=1e-4)
    torch._dynamo.reset()
