"""LoRA and DoRA: where they start, what they train, and that merging changes nothing."""

from copy import deepcopy

import pytest
import torch
from diffkit_finetune import DoRA, LoRA
from torch import nn

from diffkit import DiffkitError

KINDS = pytest.mark.parametrize("kind", [LoRA, DoRA])
LAYERS = {
    "linear": (lambda: nn.Linear(6, 5), (3, 6)),
    "conv1d": (lambda: nn.Conv1d(4, 6, 3, padding=1), (2, 4, 9)),
    "conv2d": (lambda: nn.Conv2d(4, 6, 3, stride=2), (2, 4, 7, 7)),
    "conv3d": (lambda: nn.Conv3d(4, 6, (1, 3, 3), groups=2), (2, 4, 2, 5, 5)),
    "embedding": (lambda: nn.Embedding(5, 4), None),
}
EVERY_LAYER = pytest.mark.parametrize("layer", LAYERS)


def network(layer):
    torch.manual_seed(0)
    make, shape = LAYERS[layer]
    return nn.Sequential(make()), torch.randn(shape) if shape else torch.tensor([0, 2, 4])


def train(net, x, steps=3):
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=0.05)
    for _ in range(steps):
        optimizer.zero_grad()
        (net(x) - 1).square().mean().backward()
        optimizer.step()


@KINDS
@EVERY_LAYER
def test_a_fresh_one_is_the_identity_to_the_bit(kind, layer):
    net, x = network(layer)
    before = net(x)
    kind("run", rank=2).change(net)
    assert torch.equal(net(x), before)


@KINDS
@EVERY_LAYER
def test_training_moves_the_matrices_alone_and_merging_changes_no_bit(kind, layer):
    net, x = network(layer)
    plain, adaptation = deepcopy(net), kind("run", rank=2)
    adaptation.change(net)
    train(net, x)
    trained, state = net(x), net.state_dict()
    assert torch.equal(state["0.parametrizations.weight.original"], plain[0].weight)
    assert not torch.allclose(trained, plain(x), atol=1e-3)
    adaptation.merge(net)
    assert torch.equal(net(x), trained)
    assert set(net.state_dict()) == set(plain.state_dict())
    assert type(net[0]) is type(plain[0])
    assert all(p.requires_grad for p in net.parameters())
    plain.load_state_dict(net.state_dict())
    assert torch.equal(plain(x), trained)


@KINDS
def test_it_does_the_same_each_time(kind):
    (one, _), (other, _) = network("conv2d"), network("conv2d")
    kind("run", rank=2).change(one)
    kind("run", rank=2).change(other)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True))


def test_lora_adds_a_matrix_of_its_rank_at_its_strength():
    net, x = network("linear")
    weight = net[0].weight.detach().clone()
    LoRA("run", rank=2, alpha=6).change(net)
    train(net, x)
    adapter = net[0].parametrizations.weight[0]
    change = net[0].weight - weight
    assert torch.allclose(change, 3 * adapter.up @ adapter.down, atol=1e-6)
    assert torch.linalg.matrix_rank(change, rtol=1e-4) == 2


def test_dora_gives_each_row_its_length_and_the_direction_of_the_sum():
    net, x = network("conv2d")
    weight = net[0].weight.detach().clone()
    DoRA("run", rank=2).change(net)
    train(net, x)
    adapter, rows = net[0].parametrizations.weight[0], net[0].weight.flatten(1)
    whole = weight.flatten(1) + 4 * adapter.up @ adapter.down
    assert torch.allclose(rows.norm(dim=1), adapter.length.abs(), rtol=1e-5)
    assert torch.allclose(nn.functional.cosine_similarity(rows, whole), adapter.length.sign(), atol=1e-5)
    assert not torch.allclose(adapter.length, weight.flatten(1).norm(dim=1), rtol=1e-2)


def test_dora_learns_a_table_that_starts_from_zero():
    net, x = network("embedding")
    nn.init.zeros_(net[0].weight)
    DoRA("run", rank=2).change(net)
    train(net, x, steps=100)
    assert net(x).isfinite().all()
    assert (net(x) - 1).abs().max() < 0.3


def test_it_compiles_without_a_break():
    net, x = network("conv2d")
    DoRA("run", rank=2).change(net)
    train(net, x)
    compiled = torch.compile(net, backend="aot_eager", fullgraph=True)
    assert torch.allclose(compiled(x), net(x), atol=1e-6)


class Net(nn.Module):
    """Layers of several sizes, one of its own kind among them."""

    def __init__(self):
        super().__init__()
        self.first, self.deep, self.last = nn.Linear(3, 8), nn.Sequential(nn.Linear(8, 8), nn.LayerNorm(8)), Halved()


class Halved(nn.Module):
    """A layer that is none of torch's."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2, 8))

    def forward(self, x):
        return x @ (self.weight / 2).T


def trained_names(net):
    return {name.replace("parametrizations.weight.0.", "") for name, p in net.named_parameters() if p.requires_grad}


def test_every_layer_with_a_matrix_is_one_and_gets_at_most_its_own_rank():
    net = Net()
    LoRA("run", rank=5).change(net)
    layers = ("first", "deep.0", "last")
    assert trained_names(net) == {f"{layer}.{part}" for layer in layers for part in ("down", "up")}
    assert [len(net.get_submodule(layer).parametrizations.weight[0].down) for layer in layers] == [3, 5, 2]


def test_targets_and_what_is_trained_in_full_go_by_patterns():
    net = Net()
    LoRA("run", rank=2, targets=["d*", "last"], train=["first.*", "deep.1.bias"]).change(net)
    assert trained_names(net) == {
        "deep.0.down", "deep.0.up", "last.down", "last.up", "first.weight", "first.bias", "deep.1.bias",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rank": 0}, r"adapt.rank=0 is out of range; .* give 1 to 8"),
        ({"rank": 9}, r"adapt.rank=9 is out of range; the greatest of the 3 layers is of rank 8"),
        ({"targets": ["qkv"]}, r"adapt.targets=\[qkv\] matches nothing in this network; it has deep.\*, first, last"),
        ({"targets": ["deep.1"]}, r"adapt.targets=\[deep.1\] matches nothing"),
        ({"train": ["middle.*"]}, r"adapt.train=\[middle.\*\] matches nothing"),
    ],
    ids=["none", "high", "targets", "norm", "train"],
)
def test_a_mistake_is_said(options, said):
    with pytest.raises(DiffkitError, match=said):
        LoRA("run", **options).change(Net())
