"""What networks are told besides the label, and the transformers' own promises."""

import pytest
import torch
from diffkit_nets import MLP, Condition, DiT, UViT
from diffkit_nets.dit import SIZES

from diffkit import ConditionSpec, DataSpec, Denoiser, DiffkitError, catalog
from diffkit.testing import check_network

with_a_schedule = pytest.mark.skipif(
    "edm" not in catalog.names("schedule"), reason="a denoiser needs diffkit-schedules and diffkit-objectives"
)

TOLD = (
    ConditionSpec("style", "classes", 3),
    ConditionSpec("pose", "values", 2),
    ConditionSpec("caption", "sequence", 4, length=5),
    ConditionSpec("sketch", "map", 1),
)
SPEC = DataSpec(1, (8, 8), tuple("0123456789"), conditions=TOLD)
CLIPS = DataSpec(1, (3, 8, 8), ("a", "b"))


def known(n, spec=SPEC):
    """Return a condition of each kind for ``n`` items."""
    cond = {one.name: torch.randn_like(one.null(spec.shape, n).float()) for one in spec.conditions}
    return {**cond, "label": torch.arange(n) % len(spec.labels), "style": torch.arange(n) % 3}


def perturbed(net, by=0.1):
    """Return ``net``, evaluated, with all its parameters moved, so that nothing is zero."""
    for parameter in net.parameters():
        parameter.data.add_(by * torch.randn_like(parameter))
    return net.eval()


def test_a_map_is_zero_where_it_is_missing_and_a_channel_says_where():
    condition = Condition(SPEC, 8, attends=True).eval()
    sketch = torch.randn(2, 1, 8, 8)
    sketch[1, :, :4] = torch.nan
    x, *_ = condition.around(torch.ones(2, 1, 8, 8), torch.zeros(2), sketch=sketch)
    assert x.shape == (2, 1 + condition.channels, 8, 8)
    assert torch.equal(x[:, 1:2], sketch.nan_to_num())
    assert torch.equal(x[:, 2:], sketch.isfinite().float())


def test_some_values_and_some_tokens_may_be_missing():
    torch.manual_seed(0)
    condition = Condition(SPEC, 8, attends=True).eval()
    cond = known(1)
    whole = condition.around(torch.zeros(1, 1, 8, 8), torch.zeros(1), **cond)
    cond["pose"][0, 1] = cond["caption"][0, 2] = torch.nan
    part = condition.around(torch.zeros(1, 1, 8, 8), torch.zeros(1), **cond)
    assert part[1].isfinite().all()
    assert not torch.allclose(whole[1], part[1])
    assert (whole[2] != part[2]).any(2).tolist() == [[False, False, True, False, False]]


def test_what_the_spec_does_not_name_is_refused():
    with pytest.raises(DiffkitError, match="told caption, label, pose, sketch, style, not mood"):
        Condition(SPEC, 8)(torch.zeros(1), mood=torch.zeros(1))


@with_a_schedule
@pytest.mark.parametrize("network", [MLP, DiT, UViT])
def test_the_null_condition_of_a_denoiser_is_nothing_at_all(network):
    torch.manual_seed(0)
    denoiser = Denoiser(perturbed(network(SPEC, width=24, blocks=1)), "edm", "edm")
    x, cond = torch.randn(2, 1, 8, 8), known(2)
    free = denoiser(x, 0.5, **denoiser.null(cond))
    assert free.isfinite().all()
    assert torch.allclose(free, denoiser(x, 0.5), atol=1e-5)
    assert not torch.allclose(free, denoiser(x, 0.5, **cond), atol=1e-3)


@with_a_schedule
def test_rows_of_a_table_have_no_axes():
    spec = DataSpec(5, (), conditions=(ConditionSpec("known", "values", 5),))
    net = perturbed(MLP(spec, width=8, blocks=1))
    row = torch.tensor([[1.0, torch.nan, 0.0, torch.nan, 2.0]])
    assert net(torch.randn(1, 5), torch.zeros(1), known=row).shape == (1, 5)
    assert Denoiser(net, "edm", "edm").loss(torch.randn(1, 5), known=row).isfinite()


# transformers


def test_factorised_clips_keep_the_contract():
    check_network(DiT, ranks=(3,), width=24, blocks=1, heads=2, temporal="factorised")


def test_a_fresh_factorised_transformer_sees_each_frame_as_a_picture():
    torch.manual_seed(0)
    options = {"width": 24, "blocks": 2, "heads": 2}
    pictures = perturbed(DiT(DataSpec(1, (8, 8), ("a", "b")), **options))
    clips = DiT(CLIPS, temporal="factorised", **options).eval()
    clips.inflate(pictures.state_dict())
    x, lam, label = torch.randn(2, 1, 3, 8, 8), torch.tensor([-1.0, 1.0]), torch.tensor([0, 1])
    by_frame = torch.stack([pictures(frame, lam, label) for frame in x.unbind(2)], 2)
    assert torch.allclose(clips(x, lam, label), by_frame, atol=1e-5)
    mixing = perturbed(clips)(x, lam, label)
    changed = x.clone()
    changed[:, :, 2] += 1
    assert not torch.allclose(mixing[:, :, 0], clips(changed, lam, label)[:, :, 0], atol=1e-4)
    with pytest.raises(DiffkitError, match="temporal=factorised"):
        DiT(CLIPS, **options).inflate(pictures.state_dict())


def test_a_size_is_a_width_a_depth_and_heads_that_may_be_given_instead():
    with torch.device("meta"):
        small, given = DiT(SPEC, size="s"), DiT(SPEC, size="s", width=64, blocks=1)
    assert (small.first.out_features, len(small.blocks), small.blocks[0].attention.heads) == SIZES["s"] == (384, 12, 6)
    assert (given.first.out_features, len(given.blocks), given.blocks[0].attention.heads) == (64, 1, 2)


@pytest.mark.parametrize("network", [DiT, UViT])
def test_a_checkpointed_transformer_has_the_same_gradients(network):
    torch.manual_seed(0)
    state, found = perturbed(network(SPEC, width=24, blocks=3)).state_dict(), []
    x, lam, cond = torch.randn(2, 1, 8, 8), torch.tensor([-1.0, 1.0]), known(2)
    for checkpoint in (False, True):
        net = network(SPEC, width=24, blocks=3, dropout=0.2, checkpoint=checkpoint)
        net.load_state_dict(state)
        torch.manual_seed(1)
        net(x, lam, **cond).square().mean().backward()
        found.append([parameter.grad for parameter in net.parameters()])
    for plain, again in zip(*found, strict=True):
        assert torch.allclose(plain, again, atol=1e-6, rtol=1e-4)
