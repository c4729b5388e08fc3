"""Stopped at a step and resumed equals never stopped, to the bit, whatever a run is made of."""

import os
import random

import pytest
import torch

import diffkit
from diffkit.run import checkpoint
from diffkit.run.train import resume

SMALL = ("net.width=8", "net.blocks=1")
NETS = {
    "mlp": ("net=mlp", *SMALL, "net.dropout=0.1"),
    "unet": ("net=unet", *SMALL, "net.multipliers=[1]", "net.attention=[]"),
    "dit": ("net=dit", "net.width=16", "net.blocks=1", "net.heads=2"),
    "uvit": ("net=uvit", "net.width=16", "net.blocks=3", "net.heads=2"),
    "edm2": ("net=edm2", *SMALL, "net.multipliers=[1]", "net.attention=[]"),
    "convnext": ("net=convnext", *SMALL, "net.multipliers=[1]"),
    "tiny": ("net=dense", "net.width=8"),
}
DATA = {
    "digits": ("data=digits",),
    "spirals": ("data=spirals",),
    "mixture": ("data=mixture", "data.sets=[digits,digits]", "data.weights=[1,2]"),
}
LEARNING = {"plain": (), "learned": ("weighting=learned",), "adaptive": ("times=adaptive", "times.every=8")}
AXES = (
    tuple(NETS), ("fp32", "bf16", "fp16"), ("adam", "adamw", "sgd", "lion", "muon", "schedule_free"),
    ("0", "0.9", "[0.5,0.9]"), (0, 4), (0, 2), tuple(DATA), tuple(LEARNING),
)  # fmt: skip
FEW = [
    ("mlp", "bf16", "sgd", "0.9", 4, 0, "digits", "learned"),
    ("unet", "fp32", "adamw", "0", 0, 0, "mixture", "plain"),
    ("dit", "fp16", "muon", "[0.5,0.9]", 4, 0, "digits", "adaptive"),
    ("dit", "fp32", "sgd", "0", 0, 0, "spirals", "plain"),
    ("tiny", "fp32", "schedule_free", "0.9", 0, 2, "spirals", "adaptive"),
]


def spread(n):
    """Return ``n`` combinations, in which every choice of every axis comes equally often."""
    rng, columns = random.Random(0), []
    for axis in AXES:
        column = [axis[i % len(axis)] for i in range(n)]
        rng.shuffle(column)
        columns.append(column)
    return list(zip(*columns, strict=True))


CHOSEN = spread(96) if os.environ.get("FAULTS") == "long" else FEW


def state(run):
    (found, *_) = checkpoint.steps(run / "checkpoints")
    return checkpoint.read(found, tuple(sorted(path.stem for path in found.glob("*.safetensors"))))


@pytest.mark.parametrize("combination", CHOSEN, ids=lambda one: "-".join(map(str, one)))
def test_resumed_equals_uninterrupted(tmp_path, combination):
    net, precision, optim, ema, micro, workers, data, learning = combination
    words = [
        "~recipe", "guidance=null", *DATA[data], *NETS[net], *LEARNING[learning], f"precision={precision}",
        f"optim={optim}", f"train.ema={ema}", f"train.micro_batch={micro}", f"train.workers={workers}",
        "train.batch_size=10", "train.save_every=0", "sample.n=1", "sampler.steps=1", "sampler=ddim", "device=cpu",
        "optim.decay=constant",
    ]  # fmt: skip
    stopped = diffkit.train(*words, "train.steps=3", f"out={tmp_path / 'a'}").path
    resume(stopped, "train.steps=6")
    whole = diffkit.train(*words, "train.steps=6", f"out={tmp_path / 'b'}").path
    (tensors, numbers), (expected, known) = state(stopped), state(whole)
    assert numbers == known and numbers["step"] == 6 and tensors.keys() == expected.keys()
    for name, values in expected.items():
        assert values.keys() == tensors[name].keys()
        for key, value in values.items():
            assert value.dtype == tensors[name][key].dtype and torch.equal(value, tensors[name][key]), f"{name} {key}"
    # The next batches and their losses agree too: one more step of both gives the same parameters.
    resume(stopped, "train.steps=7")
    resume(whole, "train.steps=7")
    (tensors, _), (expected, _) = state(stopped), state(whole)
    assert all(torch.equal(value, tensors["model"][key]) for key, value in expected["model"].items())
