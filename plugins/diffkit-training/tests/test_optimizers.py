import copy
import json
from math import sqrt

import pytest
import torch
from diffkit_training import SGD, Adam, AdamW, Lion, Muon, ScheduleFree
from diffkit_training.muon import COEFFICIENTS, MATCH, ROUNDS, orthogonalised
from torch import nn

from diffkit import DiffkitError, build

ALL = {
    "adam": Adam(lr=0.1, warmup=0),
    "adamw": AdamW(lr=0.1, warmup=0),
    "lion": Lion(lr=0.02, warmup=0, weight_decay=0.0),
    "muon": Muon(lr=0.1, warmup=0),
    "schedule_free": ScheduleFree(lr=0.2, warmup=0),
    "sgd": SGD(lr=0.05, warmup=0),
}
every_optimizer = pytest.mark.parametrize("optimizer", ALL.values(), ids=ALL)


class AnyShape(nn.Module):
    """Parameters of no to five axes, and a table, in double precision."""

    def __init__(self, seed=0):
        super().__init__()
        made = torch.Generator().manual_seed(seed)
        shapes = [(), (5,), (4, 6), (4, 3, 3), (4, 3, 3, 3), (4, 2, 3, 3, 3)]
        self.weights = nn.ParameterList(torch.randn(s, generator=made, dtype=torch.float64) for s in shapes)
        self.twin = nn.Parameter(torch.randn(4, 6, generator=made, dtype=torch.float64))
        self.table = nn.Embedding(3, 4, dtype=torch.float64)
        self.table.weight.data = torch.randn(3, 4, generator=made, dtype=torch.float64)


def give_gradients(net, step):
    made = torch.Generator().manual_seed(100 + step)
    for p in net.parameters():
        p.grad = torch.randn(p.shape, generator=made, dtype=torch.float64).to(p.dtype)


def trained(net, torch_optimizer, steps, rate=lambda step: 0.01 / (1 + step)):
    for step in steps:
        for group in torch_optimizer.param_groups:
            group["lr"] = rate(step)
        give_gradients(net, step)
        torch_optimizer.step()


@every_optimizer
def test_it_finds_the_bottom_of_a_bowl(optimizer):
    torch.manual_seed(0)
    net = nn.Linear(3, 1)
    x, y = torch.randn(64, 3), torch.randn(64, 1)
    inputs = torch.cat((x, torch.ones(64, 1)), 1)
    best = (inputs @ torch.linalg.lstsq(inputs, y).solution - y).square().mean()
    torch_optimizer = optimizer.create(net)
    for step in range(300):
        for group in torch_optimizer.param_groups:
            group["lr"] = optimizer.rate(step, 300)
        loss = (net(x) - y).square().mean()
        torch_optimizer.zero_grad()
        loss.backward()
        torch_optimizer.step()
    assert loss.item() < best + 1e-3


def adam_by_hand(p, g, s, lr, decay, beta1=0.9, beta2=0.99, eps=1e-8):
    s["k"] = s.get("k", 0) + 1
    s["m"] = beta1 * s.get("m", 0) + (1 - beta1) * g
    s["v"] = beta2 * s.get("v", 0) + (1 - beta2) * g**2
    mean, square = s["m"] / (1 - beta1 ** s["k"]), s["v"] / (1 - beta2 ** s["k"])
    return p - lr * decay * p - lr * mean / (square**0.5 + eps)


def lion_by_hand(p, g, s, lr, decay):
    m = s.get("m", torch.zeros_like(p))
    s["m"] = 0.99 * m + 0.01 * g
    return p - lr * (torch.sign(0.9 * m + 0.1 * g) + decay * p)


def muon_by_hand(p, g, s, lr, decay):
    """By the singular values, on which the iteration is a polynomial."""
    s["m"] = 0.95 * s.get("m", 0) + 0.05 * g
    matrix = (0.05 * g + 0.95 * s["m"]).reshape(len(p), -1)
    u, values, v = torch.linalg.svd(matrix, full_matrices=False)
    values = values / (values.square().sum().sqrt() + 1e-7)
    a, b, c = COEFFICIENTS
    for _ in range(ROUNDS):
        values = a * values + b * values**3 + c * values**5
    step = MATCH * sqrt(max(matrix.shape)) * (u * values) @ v
    return p - lr * decay * p - lr * step.reshape(p.shape)


def sgd_by_hand(p, g, s, lr, decay):
    g = g + decay * p
    s["m"] = 0.9 * s["m"] + g if "m" in s else g
    return p - lr * (g + 0.9 * s["m"])


def schedule_free_by_hand(y, g, s, lr, decay, beta1=0.9, beta2=0.99, eps=1e-8):
    """Algorithm 1 of the paper, with x kept beside z."""
    if not s:
        s.update(x=y, z=y, v=0, k=0, total=0)
    s["k"] += 1
    s["v"] = beta2 * s["v"] + (1 - beta2) * g**2
    rate = lr * sqrt(1 - beta2 ** s["k"])
    s["z"] = s["z"] - rate * g / (s["v"] ** 0.5 + eps) - rate * decay * y
    s["total"] += rate**2
    c = rate**2 / s["total"]
    s["x"] = (1 - c) * s["x"] + c * s["z"]
    return (1 - beta1) * s["z"] + beta1 * s["x"]


@pytest.mark.parametrize(
    ("optimizer", "matrices", "others"),
    [
        (Adam(), adam_by_hand, adam_by_hand),
        (AdamW(weight_decay=0.3), adam_by_hand, adam_by_hand),
        (Lion(weight_decay=0.3), lion_by_hand, lion_by_hand),
        (Muon(weight_decay=0.3), muon_by_hand, adam_by_hand),
        (ScheduleFree(weight_decay=0.3), schedule_free_by_hand, schedule_free_by_hand),
        (SGD(weight_decay=0.3), sgd_by_hand, sgd_by_hand),
    ],
    ids=ALL,
)
def test_its_steps_are_those_of_its_paper_for_parameters_of_any_shape(optimizer, matrices, others):
    net = AnyShape()
    torch_optimizer = optimizer.create(net)
    expected = {name: p.detach().clone() for name, p in net.named_parameters()}
    states = {name: {} for name in expected}
    for step in range(7):
        trained(net, torch_optimizer, [step])
        for name, p in net.named_parameters():
            is_matrix = p.ndim > 1 and not name.startswith("table")
            rule, decay = (matrices, 0.3) if is_matrix else (others, 0.0)
            decay = 0.0 if isinstance(optimizer, Adam) and not isinstance(optimizer, AdamW) else decay
            expected[name] = rule(expected[name], p.grad, states[name], 0.01 / (1 + step), decay)
    for name, p in net.named_parameters():
        torch.testing.assert_close(p.detach(), expected[name], rtol=1e-9, atol=1e-11, msg=name)


@every_optimizer
def test_it_goes_on_from_what_a_checkpoint_keeps_to_the_bit(optimizer):
    """A checkpoint keeps tensors apart from the rest, and the rest as JSON."""
    net, other = AnyShape(), AnyShape(seed=1)
    first, second = optimizer.create(net), optimizer.create(other)
    trained(net, first, range(3))
    other.load_state_dict(net.state_dict())
    kept = copy.deepcopy(first.state_dict())
    tensors = {i: {k: v for k, v in s.items() if isinstance(v, torch.Tensor)} for i, s in kept["state"].items()}
    plain = {i: {k: v for k, v in s.items() if not isinstance(v, torch.Tensor)} for i, s in kept["state"].items()}
    plain, groups = json.loads(json.dumps([plain, kept["param_groups"]]))
    state = {i: {**values, **plain[str(i)]} for i, values in tensors.items()}
    second.load_state_dict({"state": state, "param_groups": groups})
    trained(net, first, range(3, 6))
    trained(other, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@every_optimizer
def test_what_is_frozen_or_has_no_gradient_stays(optimizer):
    net = AnyShape()
    net.weights[2].requires_grad_(False)
    torch_optimizer = optimizer.create(net)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    give_gradients(net, 0)
    net.weights[2].grad = net.weights[3].grad = net.weights[1].grad = None
    torch_optimizer.step()
    stay = [name for name, p in net.named_parameters() if torch.equal(p, before[name])]
    assert stay == ["weights.1", "weights.2", "weights.3"]
    assert net.weights[2] not in {p for group in torch_optimizer.param_groups for p in group["params"]}


@every_optimizer
def test_a_parameter_that_comes_late_starts_as_others_did(optimizer):
    net = nn.ParameterList([nn.Parameter(torch.ones(3, 3)) for _ in range(2)])
    torch_optimizer = optimizer.create(net)
    gradient = torch.randn(3, 3)
    for step in range(6):
        net[0].grad, net[1].grad = (gradient, None) if step < 3 else (None, gradient)
        torch_optimizer.step()
    assert torch.allclose(net[0], net[1])


@every_optimizer
def test_a_first_step_that_is_left_out_on_the_device_leaves_nothing_behind(optimizer):
    """As the scale of fp16, too great to begin with, lets it be: a fused step is told so by ``found_inf``."""
    net, plain = nn.Linear(64, 64), nn.Linear(64, 64)
    plain.load_state_dict(net.state_dict())
    torch_optimizer = optimizer.create(net)
    if not torch_optimizer.defaults.get("fused"):
        pytest.skip("the loop asks on the host, and does not call it")
    for _ in range(8):  # whatever is taken from memory without being written is this
        torch.full_like(net.weight, 1e30), torch.full_like(net.bias, 1e30)
    give_gradients(net, 0)
    torch_optimizer.found_inf, torch_optimizer.grad_scale = torch.ones(()), None
    torch_optimizer.step()
    torch_optimizer.found_inf = torch.zeros(())
    trained(net, torch_optimizer, (1, 2))
    trained(plain, optimizer.create(plain), (1, 2))
    for parameter, expected in zip(net.parameters(), plain.parameters(), strict=True):
        assert torch.equal(parameter, expected)


def test_a_step_of_adamw_without_decay_moves_every_weight_by_the_rate():
    net = nn.Linear(4, 4)
    before = net.weight.clone()
    optimizer = AdamW(lr=0.01, weight_decay=0).create(net)
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert torch.allclose((net.weight - before).abs(), torch.full((4, 4), 0.01), rtol=1e-3)


def test_a_step_of_muon_is_as_large_as_one_of_adamw_whatever_the_shape():
    for shape in ((8, 8), (4, 64), (64, 4)):
        net = nn.ParameterList([nn.Parameter(torch.zeros(shape))])
        optimizer = Muon(lr=0.01, weight_decay=0).create(net)
        net[0].grad = torch.randn(shape)
        optimizer.step()
        assert net[0].square().mean().sqrt().item() == pytest.approx(0.01 * MATCH, rel=0.3)


@pytest.mark.parametrize("shape", [(3, 8, 8), (2, 4, 30), (2, 30, 4), (1, 1, 9)], ids=str)
def test_singular_values_come_near_to_one(shape):
    values = torch.linalg.svdvals(orthogonalised(torch.randn(shape, generator=torch.Generator().manual_seed(0))))
    assert ((values > 0.5) & (values < 1.25)).all()


def test_a_matrix_of_zeros_makes_no_step_of_muon():
    net = nn.ParameterList([nn.Parameter(torch.ones(3, 3))])
    optimizer = Muon(weight_decay=0).create(net)
    net[0].grad = torch.zeros(3, 3)
    optimizer.step()
    assert torch.equal(net[0], torch.ones(3, 3))


def test_muon_does_not_take_parts_of_matrices():
    net = nn.Linear(2, 2)
    net.weight.full_tensor = None
    with pytest.raises(DiffkitError, match=r"muon needs whole matrices, but shards divide them; give parallel=ddp"):
        Muon().create(net)


def test_an_average_of_what_schedule_free_trains_is_as_good_as_its_x():
    """On a noisy bowl with its bottom at 0. What the network holds, y, is worse, and z, where it steps, far off."""
    torch.manual_seed(0)
    net = nn.ParameterList([nn.Parameter(torch.full((200,), 3.0))])
    optimizer = ScheduleFree(lr=0.1, warmup=0).create(net)
    average = net[0].detach().clone()
    for step in range(2000):
        net[0].grad = net[0].detach() + torch.randn(200)
        optimizer.step()
        average.lerp_(net[0].detach(), 1 - min(0.998, (1 + step) / (10 + step)))
    y, z = net[0].detach(), optimizer.state[net[0]]["z"]
    x = (y - 0.1 * z) / 0.9
    assert average.norm() < 1.05 * x.norm()
    assert average.norm() < 0.7 * y.norm() < 0.2 * z.norm()


def test_only_matrices_decay():
    net = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8), nn.LayerNorm(8))
    for optimizer in (AdamW(weight_decay=0.1), Lion(), Muon(), ScheduleFree(), SGD(weight_decay=0.1)):
        groups = optimizer.create(net).param_groups
        decaying = [p for group in groups if group["weight_decay"] > 0 for p in group["params"]]
        still = [p for group in groups if group["weight_decay"] == 0 for p in group["params"]]
        assert [id(p) for p in decaying] == [id(net[1].weight)]
        assert len(still) == 4


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("adam", "eps", -1.0),
        ("adamw", "lr", 0.0),
        ("adamw", "lr", float("nan")),
        ("adamw", "beta1", 1.0),
        ("adamw", "beta2", -0.1),
        ("adamw", "eps", 0.0),
        ("adamw", "weight_decay", -1.0),
        ("adamw", "warmup", -1),
        ("adamw", "decay", "step"),
        ("lion", "beta2", 1.0),
        ("lion", "weight_decay", -1.0),
        ("muon", "momentum", 1.0),
        ("schedule_free", "eps", 0.0),
        ("schedule_free", "hold", -1),
        ("sgd", "momentum", 1.0),
        ("sgd", "cooldown", -1),
        ("sgd", "lr", -1.0),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name, option, value):
    with pytest.raises(DiffkitError, match=f"optim '{name}': {option}={value} is out of range"):
        build("optim", name, **{option: value})
