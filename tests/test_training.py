"""Training is a function of config and seed: stopped anywhere and resumed, it arrives at the same bits."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from torch import nn

import diffkit
from diffkit import DataSpec, Denoiser, DiffkitError, build, catalog
from diffkit.data.stream import BatchStream
from diffkit.run import checkpoint
from diffkit.run.train import resume
from diffkit.training import Trainer

pytestmark = pytest.mark.usefixtures("one_thread")

QUICK = (
    "train.batch_size=4",
    "sample.n=2",
    "sample.batch_size=2",
    "sampler.steps=2",
    "device=cpu",
    "train.log_every=1",
)


def bits(run):
    """Return the digests of a run's last checkpoint, file by file."""
    return (checkpoint.steps(Path(run) / "checkpoints")[0] / "SHA256SUMS").read_text()


def losses(run):
    lines = (Path(run) / "metrics.jsonl").read_text().splitlines()
    return [(line["step"], line["loss"], line["lr"]) for line in map(json.loads, lines)]


def recipes():
    """Return the recipes that need no folder of the user's own."""
    folders = ("images", "small_images", "sounds", "clips")
    return [entry.name for entry in catalog.entries("recipe") if entry.name not in folders]


@pytest.mark.parametrize("recipe", ["digits", "notes", "moving_digits", "spirals"])
def test_stopped_and_resumed_every_recipe_arrives_at_the_bits_of_an_uninterrupted_run(recipe, tmp_path, capsys):
    words = (f"recipe={recipe}", *QUICK, f"out={tmp_path}", "net.width=8", "train.steps=3")
    whole = diffkit.train(*words).path
    part = diffkit.train(*words, "train.save_every=2").path
    shutil.rmtree(part / "checkpoints/step-00000003")
    shutil.rmtree(part / "samples")
    resume(part)
    assert bits(part) == bits(whole), "parameters, average, optimizer and step"
    assert losses(part) == losses(whole), "and the same lines of metrics, each once"
    sheet = "samples/step-00000003/sheet.png"
    assert (part / sheet).read_bytes() == (whole / sheet).read_bytes()


def test_the_list_above_is_that_of_the_recipes_shipped():
    assert sorted(recipes()) == ["digits", "moving_digits", "notes", "spirals"]


@pytest.mark.parametrize("optimizer", catalog.names("optim"))
def test_every_optimizer_resumes_to_the_bit(optimizer, tmp_path):
    words = ("recipe=spirals", *QUICK, f"out={tmp_path}", f"optim={optimizer}", "train.steps=6")
    whole = diffkit.train(*words).path
    part = diffkit.train(*words, "train.save_every=3").path
    shutil.rmtree(part / "checkpoints/step-00000006")
    resume(part)
    assert bits(part) == bits(whole)


def test_the_same_words_give_the_same_bits_and_another_seed_others(tmp_path):
    runs = [
        diffkit.train("recipe=spirals", *QUICK, f"out={tmp_path}", "train.steps=3", f"seed={s}").path for s in (0, 0, 1)
    ]
    assert len(set(runs)) == 3, "each in a folder of its own"
    assert bits(runs[0]) == bits(runs[1]) != bits(runs[2])


def test_when_a_run_samples_or_saves_or_logs_changes_nothing_it_learns(tmp_path):
    words = ("recipe=spirals", *QUICK, f"out={tmp_path}", "train.steps=6")
    plain = diffkit.train(*words).path
    busy = diffkit.train(*words, "train.sample_every=2", "train.save_every=1", "train.log_every=3").path
    assert bits(plain) == bits(busy)
    assert (busy / "samples/step-00000002/sheet.png").exists()


def test_a_run_can_go_further_than_it_was_to(tmp_path):
    words = ("recipe=spirals", *QUICK, f"out={tmp_path}")
    short = diffkit.train(*words, "train.steps=3").path
    assert resume(short, "train.steps=6").step == 6
    assert bits(short) == bits(diffkit.train(*words, "train.steps=6").path), "at a constant rate of learning"
    assert yaml.safe_load((short / "config.yaml").read_text())["train"]["steps"] == 6
    with pytest.raises(DiffkitError, match=r"has reached step 6 of 6; go further: diffkit resume .* train.steps=12"):
        resume(short)


def test_lines_written_after_the_last_checkpoint_are_not_kept_twice(tmp_path):
    run = diffkit.train("recipe=spirals", *QUICK, f"out={tmp_path}", "train.steps=4", "train.save_every=2").path
    shutil.rmtree(run / "checkpoints/step-00000004")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 5, "lo')
    resume(run)
    assert [step for step, _, _ in losses(run)] == [1, 2, 3, 4]


def test_a_loss_that_is_not_finite_ends_the_run_and_the_last_checkpoint_stays(tmp_path):
    words = ("recipe=spirals", *QUICK, f"out={tmp_path}", "optim.lr=1e30", "train.clip=0", "train.steps=40")
    with pytest.raises(
        DiffkitError, match=r"the loss is (nan|inf) at step \d+, .*; the last checkpoint is kept; lower optim.lr"
    ):
        diffkit.train(*words)


def test_clipping_bounds_the_step_and_0_does_not_clip(tmp_path):
    spec = DataSpec(2, (8,), ("left", "right"))
    norms = {}
    for clip in (1e-4, 0):
        torch.manual_seed(0)
        denoiser = Denoiser(build("net", "dense", spec=spec), "root", "clean")
        trainer = Trainer(denoiser, BatchStream(build("data", "spirals"), 8, 0), Descent(), steps=1, clip=clip, ema=0.0)
        before = [p.detach().clone() for p in trainer.parameters]
        next(iter(trainer.run()))
        moved = torch.stack([(p - b).norm() for p, b in zip(trainer.parameters, before, strict=True)]).norm()
        norms[clip] = moved.item()
    assert norms[1e-4] == pytest.approx(1e-4, rel=1e-3)
    assert norms[0] > 1e-3


class Bounded(nn.Linear):
    """A network whose weights are kept at a length of 1."""

    def forward(self, x, lam):
        return super().forward(x)

    def constrain(self):
        with torch.no_grad():
            self.weight.copy_(self.weight / self.weight.norm())


def test_what_a_network_constrains_is_put_right_after_each_step_and_before_it_is_averaged():
    spec = DataSpec(2, (8,))
    net = Bounded(8, 8)
    net.spec = spec
    denoiser = Denoiser(net, "root", "clean")
    trainer = Trainer(denoiser, BatchStream(build("data", "spirals"), 8, 0), Descent(), steps=3, ema=0.0)
    for _ in trainer.run():
        assert net.weight.norm().item() == pytest.approx(1)
        assert torch.equal(trainer.average.state()["ema"]["weight"], net.weight)
    assert net.bias.grad.any(), "it trains"


class Descent:
    """Plain gradient descent with a step of 1: the parameters move by the gradient itself."""

    lr = 1.0

    def create(self, net):
        return torch.optim.SGD(net.parameters(), lr=1.0)

    def rate(self, step, steps):
        return 1.0


def test_training_lowers_the_loss(tmp_path):
    run = diffkit.train(
        "recipe=spirals", "device=cpu", f"out={tmp_path}", "train.steps=200", "sample.n=1", "sample.label=0"
    )
    values = [loss for _, loss, _ in losses(run.path)]
    assert sum(values[-3:]) < 0.9 * sum(values[:3])


def test_the_global_generator_is_left_as_it_was(tmp_path):
    before = torch.get_rng_state()
    diffkit.train("recipe=spirals", *QUICK, f"out={tmp_path}", "train.steps=1")
    assert torch.equal(torch.get_rng_state(), before)


def test_frozen_parameters_stay_frozen():
    spec = DataSpec(2, (8,), ("left", "right"))
    net = build("net", "dense", spec=spec)
    net.inner.requires_grad_(False)
    before = net.inner.weight.clone()
    stream = BatchStream(build("data", "spirals"), 8, 0)
    trainer = Trainer(Denoiser(net, "root", "clean"), stream, Descent(), steps=2)
    assert [step.number for step in trainer.run()] == [1, 2]
    assert torch.equal(net.inner.weight, before)
    assert len(trainer.parameters) == len(list(net.parameters())) - 2


def test_data_without_labels_trains_without_a_label():
    class Plain:
        modality, spec = "points", DataSpec(2, (8,))

        def __len__(self):
            return 5

        def __getitem__(self, index):
            return torch.zeros(2, 8), 0

    class Asking(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.asked = nn.Parameter(torch.zeros(())), []

        def forward(self, x, lam, **cond):
            self.asked.append(set(cond))
            return x * self.scale

    net = Asking()
    net.spec = Plain.spec
    list(Trainer(Denoiser(net, "root", "clean"), BatchStream(Plain(), 4, 0), Descent(), steps=1).run())
    assert net.asked == [set()]
