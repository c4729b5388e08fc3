"""How large a network is and what it computes."""

import pytest
import torch
from torch import nn

from diffkit import DataSpec, build, catalog
from diffkit.cli.plugins import plugins
from diffkit.flops import flops, parameters

DIGITS = DataSpec(1, (8, 8), tuple("0123456789"))


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(64, 100), nn.Linear(100, 64)

    def forward(self, x, lam, label=None):
        return self.b(self.a(x.flatten(1))).reshape(x.shape)


def test_a_product_counts_twice_its_multiplications():
    net = Plain().train()
    assert flops(net, DIGITS) == 2 * 2 * 64 * 100
    assert parameters(net) == 2 * 64 * 100 + 164
    assert net.training


@pytest.mark.parametrize("name", catalog.names("net"))
def test_a_network_without_memory_counts_as_one_with(name):
    net = build("net", name, spec=DIGITS)
    with torch.device("meta"):
        bare = build("net", name, spec=DIGITS)
    assert flops(net, DIGITS) == flops(bare, DIGITS) > 0
    assert parameters(net) == parameters(bare)


def test_a_transformer_of_the_paper_has_the_papers_size():
    spec = DataSpec(4, (32, 32), tuple(map(str, range(1000))))
    with torch.device("meta"):
        net = build("net", {"name": "dit", "size": "xl", "patch": [2]}, spec=spec)
    assert parameters(net) == pytest.approx(675e6, rel=0.01)  # Peebles & Xie, table 1 and 4
    assert flops(net, spec) == pytest.approx(2 * 118.6e9, rel=0.01)


def test_the_command_line_tells_them(capsys):
    assert plugins(["info", "mlp"]) == 0
    assert "M parameters and" in capsys.readouterr().out
