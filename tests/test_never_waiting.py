"""Training and sampling never wait for the device: on one that has no values, nothing can be asked for or fetched."""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from diffkit import Denoiser, build
from diffkit.data.stream import BatchStream
from diffkit.training import Trainer

ASKING = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "_unique2"}
"""Operations whose result, or its shape, the host has to wait for."""
NETS = ("unet", "dit")


class HostGenerator(torch.Generator):
    """A generator on the host, whatever device it is asked for: that without values has none."""

    def __new__(cls, device=None):
        return super().__new__(cls)


class Told:
    """An optimizer that leaves a step out on the device where it is told to, as fused ones do."""

    def __init__(self):
        self.inner = build("optim", "adamw")
        self.rate = self.inner.rate

    def create(self, net):
        optimizer = self.inner.create(net)
        optimizer.defaults["fused"] = True
        optimizer.register_step_pre_hook(lambda optimizer, *_: delattr(optimizer, "found_inf"))
        return optimizer


class Asked(TorchDispatchMode):
    """Notes the operations in ``ASKING``."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        if operation.overloadpacket.__name__ in ASKING:
            self.names.append(operation.overloadpacket.__name__)
        return operation(*args, **(kwargs or {}))


def denoiser_of(net):
    data = build("data", "digits")
    net = build("net", {"name": net, "width": 24, "blocks": 1}, spec=data.spec)
    return data, Denoiser(net, "edm", "edm", weighting="edm", times="lognormal", spec=data.spec)


@pytest.mark.parametrize("net", NETS)
def test_a_training_step_asks_the_device_for_nothing(net, monkeypatch):
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    data, denoiser = denoiser_of(net)
    steps = Trainer(denoiser.to("meta"), BatchStream(data, 4, 0), Told(), steps=1).run()
    assert [step.loss.device.type for step in steps] == ["meta"]


def test_a_device_without_values_refuses_to_be_asked(monkeypatch):
    monkeypatch.setattr(torch, "Generator", HostGenerator)
    data, denoiser = denoiser_of("dit")
    steps = Trainer(denoiser.to("meta"), BatchStream(data, 4, 0), build("optim", "adamw"), steps=1).run()
    with pytest.raises(RuntimeError, match="item"):  # as it is not fused there, and the loop asks whether to go on
        next(steps)


@pytest.mark.parametrize("net", NETS)
def test_a_training_step_with_the_default_optimizer_asks_for_nothing(net):
    data, denoiser = denoiser_of(net)
    steps = Trainer(denoiser, BatchStream(data, 4, 0), build("optim", "adamw"), steps=2).run()
    next(steps)
    with Asked() as asked:
        next(steps)
    assert asked.names == []


@pytest.mark.parametrize(("net", "sampler"), [("unet", "ddim"), ("dit", "exp_adams")])
def test_sampling_asks_the_device_for_nothing(net, sampler):
    _, denoiser = denoiser_of(net)
    guided = build("guidance", {"name": "cfg", "scale": 2.0})(denoiser.to("meta"))
    noise, label = torch.empty(2, 1, 8, 8, device="meta"), torch.empty(2, dtype=torch.int64, device="meta")
    x = build("sampler", {"name": sampler, "steps": 2})(guided, noise, grid=build("grid", "rational"), label=label)
    assert (x.device.type, x.shape) == ("meta", noise.shape)
