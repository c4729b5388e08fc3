"""Stopped at a step and resumed equals never stopped, to the bit, whatever a run is made of."""

import itertools
import os
import random

import pytest
import torch

import diffkit
from diffkit.run import checkpoint
from diffkit.run.train import resume

NETS = {
    "mlp": ("net=mlp", "net.width=8", "net.blocks=1", "net.dropout=0.1"),
    "unet": ("net=unet", "net.width=8", "net.multipliers=[1]", "net.blocks=1", "net.attention=[]"),
    "dit": ("net=dit", "net.width=16", "net.blocks=1", "net.heads=2"),
    "tiny": ("net=dense", "net.width=8"),
}
DATA = {"digits": ("data=digits",), "spirals": ("data=spirals",)}
PRODUCT = list(itertools.product(NETS, ("fp32", "bf16"), ("adamw", "sgd"), (0, 0.9), (0, 4), (0, 2), DATA))
FEW = [
    ("mlp", "bf16", "sgd", 0.9, 4, 0, "digits"),
    ("unet", "fp32", "adamw", 0, 0, 0, "digits"),
    ("dit", "bf16", "adamw", 0.9, 4, 0, "digits"),
    ("dit", "fp32", "sgd", 0, 0, 0, "spirals"),
    ("tiny", "fp32", "sgd", 0.9, 0, 2, "spirals"),
]
CHOSEN = random.Random(0).sample(PRODUCT, 96) if os.environ.get("FAULTS") == "long" else FEW


def state(run):
    _, tensors, numbers, skipped = checkpoint.newest(run / "checkpoints", ("model", "ema", "optimizer"))
    assert skipped == []
    return tensors, numbers


@pytest.mark.parametrize("combination", CHOSEN, ids=lambda one: "-".join(map(str, one)))
def test_resumed_equals_uninterrupted(tmp_path, combination):
    net, precision, optim, ema, micro, workers, data = combination
    words = [
        "~recipe", "guidance=null", *DATA[data], *NETS[net], f"precision={precision}", f"optim={optim}",
        f"train.ema={ema}",
        f"train.micro_batch={micro}", f"train.workers={workers}", "train.batch_size=10", "train.save_every=0",
        "sample.n=1", "sampler.steps=1", "sampler=ddim", "device=cpu", "optim.decay=constant",
    ]  # fmt: skip
    stopped = diffkit.train(*words, "train.steps=3", f"out={tmp_path / 'a'}").path
    resume(stopped, "train.steps=6")
    whole = diffkit.train(*words, "train.steps=6", f"out={tmp_path / 'b'}").path
    (tensors, numbers), (expected, known) = state(stopped), state(whole)
    assert numbers == known and numbers["step"] == 6
    for name, values in expected.items():
        assert values.keys() == tensors[name].keys()
        for key, value in values.items():
            assert value.dtype == tensors[name][key].dtype and torch.equal(value, tensors[name][key]), f"{name} {key}"
    # The next batches and their losses agree too: one more step of both gives the same parameters.
    resume(stopped, "train.steps=7")
    resume(whole, "train.steps=7")
    (tensors, _), (expected, _) = state(stopped), state(whole)
    assert all(torch.equal(value, tensors["model"][key]) for key, value in expected["model"].items())
