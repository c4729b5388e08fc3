from math import pi, prod

import pytest
import torch
from diffkit_nets import EDM2, MLP, Condition, ConvNeXt, DiT, UNet, UViT
from diffkit_nets.folding import fold, patch_for, unfold
from diffkit_nets.transformer import rotary_angles, rotate, turns

from diffkit import Component, DataSpec, DiffkitError, build
from diffkit.contracts.network import Attentive
from diffkit.testing import check_network

NETWORKS = {
    "mlp": (MLP, {"width": 16, "blocks": 2}),
    "unet": (UNet, {"width": 8, "blocks": 1}),
    "edm2": (EDM2, {"width": 8, "multipliers": [1, 2], "attention": [0]}),
    "convnext": (ConvNeXt, {"width": 8, "multipliers": [1, 2]}),
    "dit": (DiT, {"width": 24, "blocks": 2, "heads": 2}),
    "uvit": (UViT, {"width": 24, "blocks": 3, "heads": 2}),
}
DIGITS = DataSpec(1, (8, 8), tuple("0123456789"))
SPECS = [DIGITS, DataSpec(2, (37,)), DataSpec(1, (3, 6, 5), ("a", "b"))]


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_keeps_the_contract(name):
    network, options = NETWORKS[name]
    check_network(network, **options)


@pytest.mark.parametrize("options", [{"dropout": 0.3}, {"attention": [0, 1]}, {"attention": []}, {"blocks": 2}])
def test_a_unet_keeps_the_contract_with_other_options(options):
    check_network(UNet, ranks=(1, 2, 3), odd=True, **{"width": 8, "blocks": 1, **options})


def test_patches_keep_the_contract():
    check_network(UNet, odd=False, width=8, blocks=1, patch=[2])
    check_network(DiT, odd=False, width=24, blocks=1, heads=2, patch=[2])


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_fresh_network_says_zero_for_any_rank(name, spec):
    network, options = NETWORKS[name]
    net = network(spec, **options)
    assert not net(torch.randn(2, spec.channels, *spec.shape), torch.tensor([-5.0, 5.0])).any()


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_a_network_learns_a_map_of_the_noise_level_for_any_rank(name, spec):
    torch.manual_seed(0)
    network, options = NETWORKS[name]
    net = network(spec, **options)
    optimizer = torch.optim.Adam(net.parameters(), 3e-3)
    losses = []
    for _ in range(90 if name == "uvit" else 60):  # which is told the level by attention alone
        x, lam = torch.randn(16, spec.channels, *spec.shape), torch.empty(16).uniform_(-3, 3)
        target = torch.sigmoid(lam).reshape(-1, *[1] * (x.ndim - 1)) * torch.ones_like(x)
        loss = (net(x, lam) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.25 * sum(losses[:5])


@pytest.mark.parametrize("name", NETWORKS)
def test_the_catalog_builds_it_by_name(name):
    net = build("net", {"name": name, "width": 24}, spec=DIGITS)
    assert isinstance(net, NETWORKS[name][0])
    assert net(torch.zeros(1, 1, 8, 8), torch.zeros(1), label=torch.tensor([3])).shape == (1, 1, 8, 8)


@pytest.mark.parametrize("name", NETWORKS)
def test_bfloat16_autocast_stays_close(name):
    torch.manual_seed(0)
    network, options = NETWORKS[name]
    net = network(DIGITS, **options).eval()
    for parameter in net.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    x, lam = torch.randn(4, 1, 8, 8), torch.linspace(-3, 3, 4)
    y = net(x, lam)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x, lam)
    assert (y - low).square().mean() < 1e-3 * y.square().mean()


# conditions


def test_levels_that_differ_by_little_are_told_by_vectors_that_differ_by_little():
    torch.manual_seed(0)
    condition = Condition(DataSpec(1, (4,)), 64).eval()
    vectors = condition(torch.linspace(-10, 10, 2001))
    spread = (vectors[:1000] - vectors[1001:]).norm(dim=1).mean()
    steps = vectors.diff(dim=0).norm(dim=1)
    assert steps.max() < 0.05 * spread
    assert torch.cdist(vectors[::100], vectors[::100]).fill_diagonal_(pi).min() > steps.max()


def test_an_infinite_level_is_told_as_a_far_one():
    condition = Condition(DataSpec(1, (4,)), 16).eval()
    vectors = condition(torch.tensor([torch.inf, 20.0, -torch.inf, -20.0]))
    assert torch.equal(vectors[0], vectors[1])
    assert torch.equal(vectors[2], vectors[3])


def test_without_labels_there_is_no_table():
    assert Condition(DataSpec(1, (4,)), 8).classes is None
    assert Condition(DIGITS, 8).classes.num_embeddings == 11


# patches


@pytest.mark.parametrize(("shape", "patch"), [((12,), (3,)), ((6, 8), (3, 2)), ((4, 6, 2), (2, 3, 1))])
def test_unfold_undoes_fold(shape, patch):
    x = torch.randn(2, 3, *shape)
    folded = fold(x, patch)
    assert folded.shape[2:] == tuple(side // p for side, p in zip(shape, patch, strict=True))
    assert torch.equal(unfold(folded, patch), x)


def test_fold_is_pixel_unshuffle_in_two_dimensions():
    x = torch.randn(2, 3, 8, 12)
    assert torch.equal(fold(x, (2, 2)), torch.nn.functional.pixel_unshuffle(x, 2))


def test_a_patch_is_chosen_so_that_long_data_is_short():
    assert patch_for(DataSpec(1, (4096,)), None, 512) == (8,)
    assert patch_for(DataSpec(1, (8, 8)), None, 64) == (1, 1)
    assert patch_for(DataSpec(1, (90, 128)), None, 64) == (2, 2)
    assert patch_for(DataSpec(1, (1009,)), None, 512) == (1,)  # a prime
    assert patch_for(DataSpec(1, (8, 7)), None, 16, least=2) == (2, 1)
    assert [net(DIGITS).patch for net in (DiT, UViT)] == [(2, 2), (2, 2)]


# the UNet's levels


def test_levels_halve_the_longest_axes_until_about_four():
    unet = UNet(DataSpec(1, (8, 16, 16)), width=8)
    assert [layer.stride for layer in unet.shrink] == [(1, 2, 2), (2, 2, 2)]
    assert len(UNet(DataSpec(1, (8, 8)), width=8).shrink) == 1
    assert len(UNet(DataSpec(1, (4,)), width=8).shrink) == 0
    assert [layer.stride for layer in UNet(DataSpec(1, (3,)), width=8, multipliers=[1, 1, 1]).shrink] == [(2,), (2,)]


@pytest.mark.parametrize(
    ("shape", "attention", "sides"),
    [
        ((8, 8), None, []),
        ((32, 32), None, [16, 8]),
        ((64,), [0], [64]),
        ((256,), None, [32, 16]),
        ((9,), [], []),
    ],
)
def test_attention_is_where_it_is_asked_for_or_pays(shape, attention, sides):
    unet = UNet(DataSpec(1, shape), width=8, attention=attention)
    assert [layer.shape[0] for layer in unet.attentions()][: len(sides)] == sides
    assert bool(sides) == bool(unet.attentions())


@pytest.mark.parametrize("network", NETWORKS, ids=str)
def test_gradients_for_parameters_that_are_given_are_those_of_its_own(network):
    torch.manual_seed(0)
    made, options = NETWORKS[network]
    net = made(DIGITS, **options)
    for parameter in net.parameters():
        parameter.data.add_(0.05 * torch.randn_like(parameter))
    x, lam, label = torch.randn(2, 1, 8, 8), torch.zeros(2), torch.tensor([1, 10])

    def loss(given):
        return torch.func.functional_call(net, given, (x, lam), {"label": label}).square().sum()

    loss(dict(net.named_parameters())).backward()
    found = torch.func.grad(loss)({name: p.detach() for name, p in net.named_parameters()})
    for name, parameter in net.named_parameters():
        assert torch.allclose(found[name], parameter.grad, rtol=1e-3, atol=1e-4), name


# positions


def test_rotary_attention_sees_distances_only():
    angles = rotary_angles((5, 7), 16).reshape(5, 7, 1, -1)
    q, k = torch.randn(2, 1, 1, 1, 16)

    def product(a, b):
        def turn(x, at):
            return rotate(x, turns(angles[at]))

        return (turn(q, a) * turn(k, b)).sum()

    assert torch.allclose(product((0, 1), (2, 4)), product((2, 3), (4, 6)), atol=1e-5)
    assert not torch.allclose(product((0, 1), (2, 4)), product((0, 1), (1, 4)), atol=1e-3)
    assert not torch.allclose(product((0, 1), (2, 4)), product((0, 1), (2, 5)), atol=1e-3)


@pytest.mark.parametrize("features", [16, 7])
def test_turning_is_linear_and_its_gradient_turns_back(features):
    torch.manual_seed(0)
    rotation = turns(rotary_angles((2, 3), features).double())
    x = torch.randn(2, 6, 3, features, dtype=torch.float64, requires_grad=True)
    turned, (cos, sin), even = rotate(x, rotation), rotation.unbind(-1), features // 2 * 2
    assert torch.allclose(turned[..., 0:even:2], x[..., 0:even:2] * cos - x[..., 1:even:2] * sin)
    assert torch.allclose(turned[..., 1:even:2], x[..., 0:even:2] * sin + x[..., 1:even:2] * cos)
    assert torch.equal(turned[..., even:], x[..., even:])
    assert torch.autograd.gradcheck(lambda x: rotate(x, rotation), x, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: rotate(x, rotation).square(), x)
    back = rotate(turned, rotation * torch.tensor([1, -1]))
    assert torch.allclose(back, x), "lengths are kept"
    lower = rotate(x.bfloat16(), rotation.float())
    assert lower.dtype == torch.bfloat16
    assert torch.allclose(lower.double(), turned, atol=0.02)


def test_turning_is_compiled_to_the_same(monkeypatch):
    rotation, x = turns(rotary_angles((2, 3), 7)), torch.randn(2, 6, 3, 7)
    eager = rotate(x, rotation)
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    assert torch.allclose(rotate(x, rotation), eager, atol=1e-6)


def test_positions_of_a_network_in_half_precision_turn_as_ever():
    angles = rotary_angles((2, 3), 8)
    assert turns(angles.bfloat16()).dtype == torch.float32
    assert torch.allclose(turns(angles.bfloat16()), turns(angles), atol=0.02)


# refusals


@pytest.mark.parametrize(
    ("network", "spec", "options", "said"),
    [
        (UNet, DataSpec(1, (10, 9)), {"patch": [2]}, r"patch=\[2\] does not divide .* 10 x 9"),
        (DiT, DataSpec(1, (10, 9)), {"patch": [4, 3]}, r"patch=\[4, 3\] does not divide .* 10 x 9"),
        (DiT, DIGITS, {"patch": [2, 2, 2]}, "3 sides, but the data has 2 axes"),
        (UNet, DIGITS, {"multipliers": [1, 1, 1, 1, 1]}, "asks for 5 levels, but data of 8 x 8 .* only 3 times"),
        (UNet, DIGITS, {"multipliers": []}, "one or more levels"),
        (UNet, DIGITS, {"multipliers": [1, 0]}, "each 1 or more"),
        (UNet, DIGITS, {"attention": [2]}, "they are 0 to 1"),
        (UNet, DIGITS, {"width": 0}, "width=0"),
        (UNet, DIGITS, {"dropout": 1.0}, "dropout=1.0"),
        (UNet, DataSpec(1, (2, 2, 2, 2)), {}, "4 axes"),
        (DiT, DIGITS, {"width": 30, "heads": 4}, "heads=4 does not divide width=30"),
        (DiT, DIGITS, {"width": 8, "heads": 4}, "needs 4 for its positions"),
        (DiT, DIGITS, {"size": "xxl"}, "size=xxl is not known; give one of xs, s, b, l, xl"),
        (DiT, DIGITS, {"temporal": "factorised"}, "is for video"),
        (UViT, DIGITS, {"blocks": 4}, "blocks=4 has no middle"),
        (MLP, DIGITS, {"blocks": 0}, "blocks=0"),
    ],
)
def test_what_cannot_be_built_is_refused_in_a_sentence(network, spec, options, said):
    with pytest.raises(DiffkitError, match=said):
        network(spec, **options)


def test_the_hooks_import_no_torch():
    import subprocess
    import sys

    listing = "import sys, diffkit_nets.plugin as plugin; list(plugin.diffkit_networks())"
    subprocess.run([sys.executable, "-c", f"{listing}; assert 'torch' not in sys.modules"], check=True)
    from diffkit_nets.plugin import diffkit_networks

    assert {component.name for component in diffkit_networks()} == set(NETWORKS)
    assert all(isinstance(component, Component) for component in diffkit_networks())


# attention that guidance can reach


NETS = [UNet(DataSpec(1, (6, 16)), width=8, attention=[0, 1]), DiT(DIGITS, width=24)]


@pytest.mark.parametrize("net", NETS, ids=["unet", "dit"])
def test_attention_is_in_layers_of_their_own_that_are_called_with_queries_keys_and_values(net):
    called = []
    for layer in net.attentions():
        layer.register_forward_hook(lambda layer, given, gathered: called.append((layer, given, gathered)))
    net.eval()(torch.randn(2, 1, *net.spec.shape), torch.zeros(2))
    assert isinstance(net, Attentive)
    assert [layer for layer, *_ in called] == net.attentions()
    for layer, (q, k, v), gathered in called:
        assert q.shape == k.shape == v.shape == gathered.shape
        assert q.shape[2] == prod(layer.shape)
        weights = (q @ k.mT / q.shape[3] ** 0.5).softmax(-1)
        assert torch.allclose(gathered, weights @ v, atol=1e-5)


def test_a_unet_attends_on_the_way_down_in_the_middle_and_on_the_way_up():
    unet = UNet(DataSpec(1, (6, 16)), width=8, multipliers=[1, 2], blocks=1, attention=[0, 1])
    assert [layer.shape for layer in unet.attentions()] == [(6, 16), (6, 8), (6, 8), (6, 8), (6, 16)]
    assert UNet(DIGITS, width=8, attention=[]).attentions() == []
