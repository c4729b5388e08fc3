"""Networks that are told the noise level of every frame of a clip."""

from types import SimpleNamespace

import pytest
import torch

from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.testing.network import CONDITIONS
from diffkit.testing.sampler import SCHEDULES

LABELS = ("a", "b", "c")
FACTORISED = {"temporal": "factorised"}
NETS = {
    "unet": ("unet", {"width": 8}),
    "unet-factorised": ("unet", {"width": 8, **FACTORISED}),
    "convnext": ("convnext", {"width": 8}),
    "edm2": ("edm2", {"width": 8}),
    "dit": ("dit", {"width": 24, "blocks": 2}),
    "dit-factorised": ("dit", {"width": 24, "blocks": 2, **FACTORISED}),
}
nets = pytest.mark.parametrize("name", NETS)


def made(name, shape=(8, 8, 8), conditions=()):
    chosen, options = NETS[name]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = build("net", {"name": chosen, **options}, spec=DataSpec(1, shape, LABELS, conditions=conditions)).eval()
        for parameter in net.parameters():
            parameter.data.add_(0.1 * torch.randn_like(parameter))
        return net, torch.randn(3, 1, *shape), torch.tensor([-1.0, 0.0, 2.0])


def differ(a, b):
    return (a - b).abs().max() > 0.01 * b.abs().max()


@torch.no_grad()
@nets
@pytest.mark.parametrize("conditions", [(), CONDITIONS], ids=["label", "all conditions"])
def test_one_level_for_all_frames_is_that_of_the_clip(name, conditions):
    net, x, lam = made(name, (5, 6, 7) if conditions else (8, 8, 8), conditions)
    assert net.per_frame
    cond = {"label": torch.tensor([0, 1, 2])}
    together = net(x, lam, **cond)
    assert torch.allclose(net(x, lam[:, None].expand(3, x.shape[2]), **cond), together, rtol=1e-4, atol=1e-5)
    assert differ(net(x, lam[:, None] + torch.arange(x.shape[2]), **cond), together)


@torch.no_grad()
@nets
def test_an_item_does_not_depend_on_the_levels_of_another(name):
    net, x, lam = made(name)
    frames = lam[:, None] + torch.linspace(-1, 1, 8)
    assert torch.allclose(net(x, frames)[1:2], net(x[1:2], frames[1:2]), rtol=1e-4, atol=1e-5)


@nets
def test_which_frame_has_which_level_makes_a_difference_and_is_learned(name):
    net, x, lam = made(name)
    frames = lam[:, None] + torch.linspace(-1, 1, 8)
    y = net(x, frames)
    assert differ(y, net(x, frames.flip(1)))
    y.square().sum().backward()
    assert all(p.grad.isfinite().all() for p in net.condition.level.parameters())


@nets
def test_a_loss_of_levels_by_frame_reaches_what_the_network_is_told_them_by(name):
    for plugin in ("schedules", "objectives"):
        pytest.importorskip(f"diffkit_{plugin}")
    net, x, _ = made(name)
    Denoiser(net, "cosine", "edm", times="per_frame").loss(x).backward()
    assert all(p.grad.isfinite().all() for p in net.condition.level.parameters())


@pytest.mark.parametrize("name", ["uvit", "mlp"])
def test_the_others_are_refused(name):
    net = build("net", {"name": name, "width": 24}, spec=DataSpec(1, (4, 4, 4)))
    with pytest.raises(DiffkitError, match=r"told one noise level for the whole of an item.*net=unet"):
        Denoiser(net, SCHEDULES[0], object(), times=SimpleNamespace(per_frame=True))
