"""The loss on held-out data: by noise level, with the same noise each time, of the averaged parameters."""

import json

import pytest
import torch

import diffkit
from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.data.stream import BatchStream
from diffkit.run.train import resume
from diffkit.run.validation import LEVELS, Validation
from diffkit.training import Trainer

SPEC = DataSpec(1, (2,), std=0.5)


class Points:
    """Points of a normal distribution of standard deviation one half."""

    modality = "points"
    spec = SPEC

    def __init__(self, n=64, seed=0):
        self.x = torch.randn(n, 1, 2, generator=torch.Generator().manual_seed(seed)) / 2

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], 0


class Exact(torch.nn.Module):
    """The network of the exact denoiser of such data, under the prediction of x_0; one parameter scales it."""

    spec = SPEC

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x, lam):
        ratio = torch.exp(-2 * lam)[:, None, None]
        alpha = 1 / (1 + ratio).sqrt()  # variance-preserving, as the cosine schedule is
        return (
            self.dropout(self.scale * alpha) * 0.25 * x / (alpha**2 * 0.25 + 1 - alpha**2).sqrt()
        )  # x is of unit variance


def trainer_of(net):
    return Trainer(
        Denoiser(net, "cosine", "x0", spec=SPEC), BatchStream(Points(), 8, 0), build("optim", "sgd", lr=1e-9), steps=1
    )


def test_the_loss_of_the_exact_denoiser_is_the_posterior_variance_at_each_level():
    trainer = trainer_of(Exact())
    validation = Validation(Points(512, seed=1), trainer, None, 0)
    found = validation(trainer)
    assert torch.allclose(validation.times, (torch.arange(LEVELS).double() + 0.5) / LEVELS, atol=0.03), "uniform ones"
    assert trainer.denoiser.training, "as it was before"
    levels = {name: value for name, value in found.items() if name.startswith("val_loss/")}
    assert len(levels) == LEVELS
    for name, loss in levels.items():
        variance = 1 / (4 + torch.exp(torch.tensor(2 * float(name.partition("/")[2]))))
        assert loss == pytest.approx(float(variance), rel=0.15)
    assert found["val_loss"] == pytest.approx(sum(levels.values()) / LEVELS)


def test_two_validations_of_the_same_parameters_agree_to_the_bit_and_of_others_do_not():
    trainer = trainer_of(Exact())
    validation = Validation(Points(40), trainer, None, 0)
    first = validation(trainer)
    torch.manual_seed(5)
    assert validation(trainer) == first
    trainer.average.averages["ema"][0].fill_(0.5)
    assert validation(trainer) != first, "it is the averaged parameters that are judged"
    assert trainer.denoiser.net.scale == 1, "and the trained ones are put back"


def test_a_run_logs_it_and_it_changes_nothing_the_run_learns(tmp_path):
    words = (
        "recipe=spirals",
        f"out={tmp_path}",
        "train.steps=4",
        "train.batch_size=4",
        "train.log_every=2",
        "sample.n=2",
    )
    run = diffkit.train(*words, "train.validate_every=2").path
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    judged = [line for line in lines if "val_loss" in line]
    assert [line["step"] for line in judged] == [2, 4]
    assert all(len([name for name in line if name.startswith("val_loss/")]) == LEVELS for line in judged)
    seldom = diffkit.train(*words, "train.validate_every=4").path
    sums = [(path / "checkpoints/step-00000004/SHA256SUMS").read_text() for path in (run, seldom)]
    assert sums[0] == sums[1]


def test_a_run_that_goes_on_does_not_hold_out_what_it_has_trained_on(tmp_path):
    words = ("recipe=spirals", f"out={tmp_path}", "train.batch_size=4", "sample.n=2", "sampler.steps=2")
    run = diffkit.train(*words, "train.steps=2").path
    with pytest.raises(DiffkitError, match=r"was trained with train.validate_every=0, and another would change"):
        resume(run, "train.steps=3", "train.validate_every=1")
    assert resume(run, "train.steps=3", "train.keep=1").step == 3


def test_a_share_that_leaves_nothing_is_refused(tmp_path):
    with pytest.raises(DiffkitError, match=r"train.held_out=0.0001 of 256 items leaves nothing on one side"):
        diffkit.train("recipe=spirals", f"out={tmp_path}", "train.validate_every=1", "train.held_out=0.0001")
    assert not any(tmp_path.iterdir())
