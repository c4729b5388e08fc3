"""The averages of parameters."""

import pytest
import torch
from torch import nn

from diffkit.ema import EMA
from diffkit.profiles import exponent


def walk(net):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn_like(parameter))


def set_to(net, value):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)


def test_equals_the_recursion_written_out():
    torch.manual_seed(0)
    net = nn.Linear(3, 2).double()
    ema, expected = EMA(net, 0.9), [p.detach().clone() for p in net.parameters()]
    for step in range(200):
        walk(net)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, net.parameters(), strict=True)]
        ema.update(step)
    for name, e in zip(ema.names, expected, strict=True):
        torch.testing.assert_close(ema.state()["ema"][name], e, rtol=1e-12, atol=1e-12)


def test_forgets_a_start_within_the_first_steps_however_slow_its_decay():
    net = nn.Linear(1, 1)
    set_to(net, 100.0)
    ema = EMA(net, 0.9999)
    set_to(net, 0.0)
    for step in range(300):
        ema.update(step)
    assert max(value.abs().max().item() for value in ema.state()["ema"].values()) < 1e-3


def test_with_decay_0_follows_the_parameters_exactly():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.0)
    set_to(net, 3.0)
    ema.update(0)
    assert all(torch.equal(ema.state()["ema"][name], p) for name, p in net.named_parameters())


def test_starts_as_the_parameters_and_shares_no_memory_with_them():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    set_to(net, 7.0)
    assert all(torch.equal(ema.state()["ema"][name], before[name]) for name in before)


def test_swaps_in_and_out_even_when_sampling_fails():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    set_to(net, 7.0)
    with pytest.raises(ZeroDivisionError), ema.swapped():
        assert all(torch.equal(p, before[name]) for name, p in net.named_parameters())
        raise ZeroDivisionError
    assert all((p == 7).all() for p in net.parameters())


def test_leaves_the_average_alone_when_the_swapped_in_parameters_change():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.5)
    kept = {name: value.clone() for name, value in ema.state()["ema"].items()}
    with ema.swapped():
        set_to(net, 7.0)
    assert all(torch.equal(ema.state()["ema"][name], kept[name]) for name in kept)


def test_takes_over_a_saved_average():
    net = nn.Linear(3, 2)
    first, second = EMA(net, [0.5, 0.9], [0.1]), EMA(nn.Linear(3, 2), [0.5, 0.9], [0.1])
    second.load(first.state())
    assert set(first.state()) == {"ema", "ema-0.9", "length-0.1"}
    assert all(
        torch.equal(first.state()[file][name], second.state()[file][name])
        for file in first.state()
        for name in first.names
    )


def test_needs_no_gradient():
    assert not any(value.requires_grad for value in EMA(nn.Linear(3, 2), 0.5).state()["ema"].values())


def test_each_of_several_is_what_it_would_be_alone():
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    together, alone = EMA(net, [0.9, 0.99], [0.1]), {"ema": EMA(net, 0.9), "ema-0.99": EMA(net, 0.99)}
    for step in range(50):
        walk(net)
        for ema in (together, *alone.values()):
            ema.update(step)
    for file, ema in alone.items():
        assert all(torch.equal(together.state()[file][name], ema.state()["ema"][name]) for name in ema.names)


def test_a_power_function_average_weighs_each_step_by_the_integral_of_its_profile():
    torch.manual_seed(0)
    net, gamma, steps = nn.Linear(3, 2).double(), exponent(0.1), 60
    ema, seen = EMA(net, 0.9, [0.1]), []
    for step in range(steps):
        walk(net)
        ema.update(step)
        seen.append(net.weight.detach().clone())
    ends = (torch.arange(steps + 1, dtype=torch.float64) / steps) ** (gamma + 1)
    expected = torch.einsum("t,tij->ij", ends.diff(), torch.stack(seen))
    torch.testing.assert_close(ema.state()["length-0.1"]["weight"], expected, rtol=1e-12, atol=1e-12)


def test_it_says_which_of_its_averages_others_can_be_made_from():
    assert EMA(nn.Linear(3, 2), [0.5, 0.9], [0.05, 0.1]).powers == ("length-0.05", "length-0.1")
    assert EMA(nn.Linear(3, 2), 0.5).powers == ()


def test_what_is_frozen_is_not_averaged():
    net = nn.Linear(3, 2)
    net.weight.requires_grad_(False)
    assert EMA(net, 0.5).names == ["bias"]
