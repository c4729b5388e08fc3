"""The UNets: what they share, EDM2's magnitudes, ConvNeXt, and clips from pictures."""

from dataclasses import replace

import pytest
import torch
from diffkit_nets import EDM2, ConvNeXt, UNet, inflate
from diffkit_nets.levels import SIZES
from diffkit_nets.magnitude import Unit, mp_cat, mp_silu, mp_sum, unit
from diffkit_nets.resampling import CONVOLVE, Blur, Grow
from torch.nn.utils import parametrize

from diffkit import DataSpec, Denoiser, DiffkitError, build, catalog
from diffkit.testing import check_network
from diffkit.testing.network import CONDITIONS

with_a_schedule = pytest.mark.skipif(
    "edm" not in catalog.names("schedule"), reason="a denoiser needs diffkit-schedules and diffkit-objectives"
)

DIGITS = DataSpec(1, (8, 8), tuple("0123456789"))
CLIPS = DataSpec(2, (3, 8, 8))


def perturbed(net, by=0.1):
    """Return ``net``, evaluated, with all its parameters moved, so that nothing is zero."""
    for parameter in net.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return net.eval()


def test_a_unet_keeps_the_contract_with_a_filter_and_with_checkpoints():
    check_network(UNet, width=8, multipliers=[1, 2], resample="blur", checkpoint=True)


def test_factorised_video_keeps_the_contract_and_other_data_is_refused():
    check_network(UNet, ranks=(3,), width=8, temporal="factorised", attention=[0])


@pytest.mark.parametrize("network", [UNet, EDM2, ConvNeXt])
def test_a_size_is_a_width_and_a_depth_that_may_be_given_instead(network):
    assert list(SIZES) == ["xs", "s", "m", "l"]
    small, given = network(DIGITS, size="xs").levels, network(DIGITS, size="s", blocks=1, width=8).levels
    assert (small.width, small.blocks) == SIZES["xs"] == (32, 1)
    assert (given.width, given.blocks) == (8, 1)
    assert network(DIGITS, size="s", width=8).levels.blocks == SIZES["s"][1]
    with pytest.raises(DiffkitError, match="size=huge"):
        network(DIGITS, size="huge")


@with_a_schedule
@pytest.mark.parametrize("told", [False, True], ids=["alone", "told"])
@pytest.mark.parametrize("name", catalog.names("net"))
def test_a_fresh_network_denoises_a_gaussian_as_well_as_can_be_whatever_it_is_told(name, told):
    torch.manual_seed(0)
    spec, cond = DataSpec(1, (8, 8), std=0.5), {}
    if told:
        spec = replace(spec, labels=("a", "b"), conditions=CONDITIONS)
        cond = {one.name: torch.randn_like(one.null(spec.shape, 64).float()) for one in CONDITIONS}
        cond["label"] = cond["style"] = torch.arange(64) % 2
    denoiser = Denoiser(build("net", name, spec=spec), "edm", "edm", spec=spec)
    x0, noise = spec.std * torch.randn(64, 1, 8, 8), torch.randn(64, 1, 8, 8)
    for t in (0.1, 0.5, 0.9):
        level = torch.tensor(t, dtype=torch.float64)
        alpha, sigma = float(denoiser.schedule.alpha(level)), float(denoiser.schedule.sigma(level))
        with torch.no_grad():
            error = (denoiser(alpha * x0 + sigma * noise, t, **cond) - x0).square().mean()
        least = (spec.std * sigma) ** 2 / ((spec.std * alpha) ** 2 + sigma**2)
        assert error < 1.1 * least  # as good as any estimate can be
        assert error < 1.01 * x0.square().mean()  # and so no worse than the mean of the data


# checkpoints


@pytest.mark.parametrize("network", [UNet, EDM2, ConvNeXt])
def test_a_checkpointed_network_has_the_same_gradients_and_keeps_less(network):
    torch.manual_seed(0)
    x, lam, kept, gradients = torch.randn(4, 1, 8, 8), torch.linspace(-3, 3, 4), [], []
    state = perturbed(network(DIGITS, width=8)).state_dict()
    for checkpoint in (False, True):
        net = network(DIGITS, width=8, dropout=0.2, checkpoint=checkpoint)
        net.load_state_dict(state)
        torch.manual_seed(1)
        sizes = {}

        def keep(value, sizes=sizes):
            sizes[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
            return value

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda value: value):
            loss = net(x, lam).square().mean()
        loss.backward()
        kept.append(sum(sizes.values()))
        gradients.append([p.grad for p in net.parameters()])
    for plain, again in zip(*gradients, strict=True):
        assert torch.allclose(plain, again, atol=1e-6, rtol=1e-4)
    assert kept[1] < 0.6 * kept[0]


# resampling


@pytest.mark.parametrize("shape", [(9,), (8, 6), (5, 8, 7)], ids=str)
def test_the_filter_keeps_what_is_constant_and_removes_what_alternates(shape):
    blur = Blur([2] * len(shape))
    constant = torch.full((1, 2, *shape), 3.0)
    halved = tuple(-(-side // 2) for side in shape)
    assert torch.allclose(blur(constant), torch.full((1, 2, *halved), 3.0))
    for axis, side in enumerate(shape):
        alternating = (-1.0) ** torch.arange(side)
        x = alternating.reshape([-1 if i == axis else 1 for i in range(len(shape))]).expand(1, 2, *shape)
        inside = blur(x).movedim(2 + axis, 0)[1:-1]
        assert inside.abs().max() < 1e-6


def test_a_filter_along_one_axis_leaves_the_others():
    x = torch.randn(2, 3, 5, 8)
    assert Blur((1, 2))(x).shape == (2, 3, 5, 4)
    assert torch.allclose(
        Blur((1, 2))(x)[:, :, :, 1], (x[..., 1:5] * torch.tensor([1, 3, 3, 1]) / 8).sum(-1), atol=1e-6
    )


def test_with_a_filter_what_moves_by_a_pixel_moves_on_more_smoothly():
    torch.manual_seed(0)
    x, lam = torch.randn(8, 1, 32, 32), torch.zeros(8)

    def unsteady(resample):
        net = perturbed(UNet(DataSpec(1, (32, 32)), width=8, attention=[], resample=resample), by=0.05)
        with torch.no_grad():
            here, moved = net(x, lam), net(x.roll(1, -1), lam).roll(-1, -1)
        return ((here - moved)[..., 8:-8].square().mean() / here.square().mean()).sqrt()

    assert unsteady("blur") < 0.7 * unsteady("conv")


@pytest.mark.parametrize(
    ("coarse", "fine"), [((5,), (10,)), ((4, 3), (8, 3)), ((2, 1, 4), (2, 2, 8)), ((3, 4), (5, 8))]
)
def test_growing_is_repeating_positions_and_convolving(coarse, fine):
    torch.manual_seed(0)
    grow, x = Grow(fine, 6, blur=False), torch.randn(2, 6, *coarse)
    repeated = torch.nn.functional.interpolate(x, fine)
    plain = CONVOLVE[len(fine)](repeated, grow.weight, grow.bias, padding=grow.padding)
    assert torch.allclose(grow(x, fine), plain, atol=1e-5)


# clips from pictures


def equal_frames(x, frames):
    return x[:, :, None].expand(-1, -1, frames, -1, -1)


@pytest.mark.parametrize(
    ("network", "options"),
    [
        (UNet, {"temporal": "factorised"}),
        (UNet, {"temporal": "full"}),
        (UNet, {"temporal": "full", "resample": "blur"}),
        (ConvNeXt, {}),
        (EDM2, {}),
    ],
    ids=["factorised", "full", "blur", "convnext", "edm2"],
)
def test_an_inflated_network_says_of_equal_frames_what_the_one_for_pictures_says(network, options):
    torch.manual_seed(0)
    attention = {} if network is ConvNeXt else {"attention": [1]}
    pictures = DataSpec(CLIPS.channels, CLIPS.shape[1:])
    shared = {name: value for name, value in options.items() if name != "temporal"}
    flat = perturbed(network(pictures, width=8, **attention, **shared))
    net = network(CLIPS, width=8, **attention, **options).eval()
    inflate(net, flat.state_dict())
    x, lam = torch.randn(2, 2, 8, 8), torch.tensor([-1.0, 2.0])
    with torch.no_grad():
        frame, clip = flat(x, lam), net(equal_frames(x, 3), lam)
    assert torch.allclose(clip, equal_frames(frame, 3), atol=1e-3 * float(frame.abs().max()))


def test_factorised_and_inflated_it_says_of_any_clip_what_is_said_of_each_frame_until_it_is_trained():
    torch.manual_seed(0)
    flat = perturbed(UNet(DataSpec(2, (8, 8)), width=8))
    net = UNet(CLIPS, width=8, temporal="factorised").eval()
    inflate(net, flat.state_dict())
    clip, lam = torch.randn(2, 2, 3, 8, 8), torch.tensor([-1.0, 2.0])
    with torch.no_grad():
        frames = torch.stack([flat(clip[:, :, i], lam) for i in range(3)], 2)
        assert torch.allclose(net(clip, lam), frames, atol=1e-5)
        mixed = perturbed(net)(clip, lam)
        other = net(torch.cat((clip[:, :, :2], clip[:, :, :1]), 2), lam)
    assert (mixed - other)[:, :, 0].abs().max() > 1e-4  # the first frame sees the last


def test_guidance_finds_the_parts_of_an_item_as_further_heads():
    net = UNet(CLIPS, width=8, temporal="factorised", attention=[0]).eval()
    seen = []
    for layer in net.attentions():
        layer.register_forward_hook(lambda layer, given, _: seen.append((layer.shape, given[0].shape)))
    net(torch.randn(5, 2, 3, 8, 8), torch.zeros(5))
    assert {shape for shape, _ in seen} == {(8, 8), (3,)}
    assert all(q[0] == 5 for _, q in seen)


@pytest.mark.parametrize(
    ("clips", "options", "said"),
    [
        (CLIPS, {"width": 16}, "build both with the same options"),
        (CLIPS, {"attention": [0]}, "has no .*attention"),
        (CLIPS, {"attention": [], "multipliers": [1]}, "has no .*to take"),
        (DataSpec(2, (16, 8, 8)), {}, "halved along time"),
        (CLIPS, {"patch": [3, 1, 1]}, "halved along time|no first"),
    ],
)
def test_networks_that_do_not_correspond_are_refused(clips, options, said):
    flat = UNet(DataSpec(2, (8, 8)), width=8)
    with pytest.raises(DiffkitError, match=said):
        inflate(UNet(clips, **{"width": 8, **options}), flat.state_dict())


def test_only_networks_for_clips_are_inflated():
    with pytest.raises(DiffkitError, match="for clips"):
        inflate(UNet(DIGITS, width=8), {})


# EDM2's magnitudes


def magnitude(x):
    return float(x.detach().square().mean().sqrt())


@pytest.mark.parametrize("kernel", [(), (3,), (3, 3), (3, 1, 3)], ids=str)
def test_a_layer_keeps_magnitudes_whatever_the_scale_of_its_weights(kernel):
    torch.manual_seed(0)
    layer = Unit(64, 48, kernel).eval()
    x = torch.randn(64, 64, *(16 for _ in kernel)) if len(kernel) < 3 else torch.randn(4, 64, 12, 12, 12)
    y = layer(x)
    inside = y[(..., *(slice(1, -1) for _ in kernel))]
    assert magnitude(inside) == pytest.approx(1, abs=0.05)
    layer.weight.data.mul_(17.0)
    assert torch.allclose(layer(x), y, atol=2e-3)


def test_silu_sums_and_concatenations_keep_magnitudes():
    torch.manual_seed(0)
    a, b = torch.randn(64, 24, 400), torch.randn(64, 8, 400)
    assert magnitude(mp_silu(a)) == pytest.approx(1, abs=0.01)
    assert magnitude(mp_sum(a, torch.randn_like(a), 0.3)) == pytest.approx(1, abs=0.01)
    both = mp_cat(a, b)
    assert magnitude(both) == pytest.approx(1, abs=0.01)
    shares = [float(part.square().sum()) for part in (both[:, :24], both[:, 24:])]
    assert shares[0] == pytest.approx(shares[1], rel=0.02)
    assert torch.allclose(unit(7 * a, (1,)).square().mean(1), torch.ones(64, 400), atol=1e-3)


@pytest.mark.parametrize("shape", [(64,), (32, 32), (8, 16, 16)], ids=str)
@pytest.mark.parametrize("gain", [0.0, 0.3])
def test_features_keep_unit_magnitude_through_the_whole_network(shape, gain):
    torch.manual_seed(0)
    net = EDM2(DataSpec(8, shape), width=32, attention=[1]).eval()
    seen = []
    for block in (*net.down, *net.middle, *net.up):
        block.gain.data.fill_(gain)
        block.register_forward_hook(lambda block, _, h: seen.append(magnitude(h)))
    net.gain.data.fill_(1.0)
    with torch.no_grad():
        y = net(torch.randn(2, 8, *shape), torch.linspace(-3, 3, 2))
    assert all(0.75 < value < 1.25 for value in (*seen, magnitude(y))), seen  # less at ends, where kernels see zeros


def test_training_leaves_every_weight_normalised_and_its_direction_learned():
    torch.manual_seed(0)
    net = EDM2(DIGITS, width=8)
    optimizer = torch.optim.Adam(net.parameters(), 0.05)
    x, lam, label = torch.randn(8, 1, 8, 8), torch.zeros(8), torch.arange(8)
    layers = [layer for layer in net.modules() if isinstance(layer, Unit)]
    before = [layer.weight.detach().clone() for layer in layers]
    losses = []
    for _ in range(8):
        loss = (net(x, lam, label=label) - x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.constrain()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]
    for layer, old in zip(layers, before, strict=True):
        size = layer.weight.detach().flatten(1).square().mean(1).sqrt()
        assert torch.allclose(size, torch.ones_like(size), atol=1e-3)
        assert not torch.allclose(layer.weight, unit(old, range(1, old.ndim)), atol=1e-3)


def test_what_is_frozen_or_made_of_other_weights_is_not_constrained():
    frozen, made = Unit(8, 8), Unit(8, 8)
    frozen.weight.requires_grad_(False).mul_(3)
    parametrize.register_parametrization(made, "weight", torch.nn.Softplus())
    before = [frozen.weight.clone(), made.weight.clone()]
    for layer in (frozen, made):
        layer.constrain()
    assert torch.equal(frozen.weight, before[0])
    assert torch.equal(made.weight, before[1])


def test_edm2_starts_at_zero_has_no_biases_and_its_gain_starts_to_learn():
    net = EDM2(DIGITS, width=8)
    x, lam = torch.randn(2, 1, 8, 8), torch.zeros(2)
    assert not net(x, lam).any()
    own = [name for name, _ in net.named_parameters() if not name.startswith("condition.")]
    assert {name.rsplit(".", 1)[-1] for name in own} == {"weight", "gain"}
    (net(x, lam) - x).square().mean().backward()
    assert net.gain.grad.abs() > 0


# compilation


@pytest.mark.parametrize(
    ("network", "spec", "options"),
    [
        (UNet, DIGITS, {"attention": [0]}),
        (UNet, CLIPS, {"temporal": "factorised", "attention": [1]}),
        (EDM2, DIGITS, {"attention": [0]}),
        (ConvNeXt, DIGITS, {"resample": "blur"}),
    ],
    ids=["unet", "factorised", "edm2", "convnext"],
)
def test_a_network_is_one_graph(network, spec, options):
    torch.manual_seed(0)
    net = perturbed(network(spec, width=8, **options)).train()
    compiled = torch.compile(net, backend="eager", fullgraph=True)
    x, lam = torch.randn(2, spec.channels, *spec.shape), torch.zeros(2)
    assert torch.allclose(compiled(x, lam), net(x, lam), atol=1e-4)
    torch._dynamo.reset()
