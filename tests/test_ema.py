"""The average of parameters."""

import pytest
import torch
from torch import nn

from diffkit.ema import EMA


def set_to(net, value):
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(value)


def test_equals_the_recursion_written_out():
    torch.manual_seed(0)
    net = nn.Linear(3, 2).double()
    ema, expected = EMA(net, 0.9), [p.detach().clone() for p in net.parameters()]
    for step in range(200):
        for p in net.parameters():
            p.data.add_(torch.randn_like(p))
        decay = min(0.9, (1 + step) / (10 + step))
        expected = [decay * e + (1 - decay) * p.detach() for e, p in zip(expected, net.parameters(), strict=True)]
        ema.update(step)
    for name, e in zip(ema.names, expected, strict=True):
        torch.testing.assert_close(ema.state()[name], e, rtol=1e-12, atol=1e-12)


def test_forgets_a_start_within_the_first_steps_however_slow_its_decay():
    net = nn.Linear(1, 1)
    set_to(net, 100.0)
    ema = EMA(net, 0.9999)
    set_to(net, 0.0)
    for step in range(300):
        ema.update(step)
    assert max(value.abs().max().item() for value in ema.state().values()) < 1e-3


def test_with_decay_0_follows_the_parameters_exactly():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.0)
    set_to(net, 3.0)
    ema.update(0)
    assert all(torch.equal(ema.state()[name], p) for name, p in net.named_parameters())


def test_starts_as_the_parameters_and_shares_no_memory_with_them():
    net = nn.Linear(3, 2)
    ema = EMA(net, 0.5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    set_to(net, 7.0)
    assert all(torch.equal(ema.state()[name], before[name]) for name in before)


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
    kept = {name: value.clone() for name, value in ema.state().items()}
    with ema.swapped():
        set_to(net, 7.0)
    assert all(torch.equal(ema.state()[name], kept[name]) for name in kept)


def test_takes_over_a_saved_average():
    net = nn.Linear(3, 2)
    first, second = EMA(net, 0.5), EMA(nn.Linear(3, 2), 0.5)
    second.load(first.state())
    assert all(torch.equal(first.state()[name], second.state()[name]) for name in first.names)


def test_needs_no_gradient():
    assert not any(value.requires_grad for value in EMA(nn.Linear(3, 2), 0.5).state().values())
