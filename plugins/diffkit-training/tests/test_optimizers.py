import copy
from itertools import pairwise

import pytest
import torch
from diffkit_training import SGD, AdamW
from torch import nn

from diffkit import DiffkitError, build


@pytest.mark.parametrize("optimizer", [AdamW(lr=0.1, warmup=0), SGD(lr=0.05, warmup=0)], ids=["adamw", "sgd"])
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


def test_a_step_of_adamw_without_decay_moves_every_weight_by_the_rate():
    net = nn.Linear(4, 4)
    before = net.weight.clone()
    optimizer = AdamW(lr=0.01, weight_decay=0).create(net)
    net(torch.randn(8, 4)).square().sum().backward()
    optimizer.step()
    assert torch.allclose((net.weight - before).abs(), torch.full((4, 4), 0.01), rtol=1e-3)


def test_only_matrices_decay():
    net = nn.Sequential(nn.Embedding(5, 8), nn.Linear(8, 8), nn.LayerNorm(8))
    optimizer = AdamW(weight_decay=0.1).create(net)
    decaying = [p for group in optimizer.param_groups if group["weight_decay"] > 0 for p in group["params"]]
    still = [p for group in optimizer.param_groups if group["weight_decay"] == 0 for p in group["params"]]
    assert [id(p) for p in decaying] == [id(net[1].weight)]
    assert len(still) == 4


def test_frozen_parameters_are_left_out():
    net = nn.Linear(2, 2)
    net.bias.requires_grad_(False)
    assert [p.shape for group in AdamW().create(net).param_groups for p in group["params"]] == [(2, 2)]


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    optimizer = AdamW(lr=2.0, warmup=4)
    rates = [optimizer.rate(step, 24) for step in range(25)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert rates[14] == pytest.approx(1.0)
    assert rates[24] == pytest.approx(0.0)


def test_the_rate_is_never_above_its_peak_or_negative_however_short_the_run():
    for decay in ("cosine", "linear", "constant"):
        optimizer = SGD(lr=1.0, warmup=10, decay=decay)
        assert all(0 <= optimizer.rate(step, steps) <= 1 for steps in (1, 5, 10, 11) for step in range(steps + 5))


def test_decay_can_be_a_line_or_nothing():
    assert AdamW(lr=1.0, warmup=0, decay="linear").rate(25, 100) == pytest.approx(0.75)
    assert AdamW(lr=1.0, warmup=0, decay="constant").rate(99, 100) == 1.0


@pytest.mark.parametrize("optimizer", [AdamW(), SGD()], ids=["adamw", "sgd"])
def test_its_state_can_be_restored_to_the_bit(optimizer):
    def taken(net, torch_optimizer, steps):
        for step in steps:
            torch_optimizer.zero_grad()
            net(torch.full((2, 3), float(step))).square().sum().backward()
            torch_optimizer.step()

    torch.manual_seed(0)
    net, other = nn.Linear(3, 3), nn.Linear(3, 3)
    first = optimizer.create(net)
    taken(net, first, range(3))
    other.load_state_dict(net.state_dict())
    second = optimizer.create(other)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    taken(net, first, range(3, 6))
    taken(other, second, range(3, 6))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), other.parameters(), strict=True))


@pytest.mark.parametrize(
    ("name", "option", "value"),
    [
        ("adamw", "lr", 0.0),
        ("adamw", "lr", float("nan")),
        ("adamw", "beta1", 1.0),
        ("adamw", "beta2", -0.1),
        ("adamw", "eps", 0.0),
        ("adamw", "weight_decay", -1.0),
        ("adamw", "warmup", -1),
        ("adamw", "decay", "step"),
        ("sgd", "momentum", 1.0),
        ("sgd", "lr", -1.0),
    ],
)
def test_an_option_out_of_range_is_refused_by_name(name, option, value):
    with pytest.raises(DiffkitError, match=f"optim '{name}': {option}={value} is out of range"):
        build("optim", name, **{option: value})
