"""How a batch is divided, in time or among ranks, and in which precision it is computed, changes next to nothing."""

import json
import os
import subprocess
import sys

import pytest
import torch
from torch.nn.utils import parametrize

import diffkit
from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.config.settings import seconds
from diffkit.data.stream import BatchStream
from diffkit.parallel import ShardedLoss, _units, hollow, hollowed
from diffkit.run.train import resume
from diffkit.training import Trainer

SPEC = DataSpec(1, (4, 4), ("a", "b"), std=0.5)


class Squares:
    """Two kinds of pictures."""

    modality = "image"
    spec = SPEC

    def __len__(self):
        return 96

    def __getitem__(self, index):
        label = index % 2
        noise = torch.randn(1, 4, 4, generator=torch.Generator().manual_seed(index)) / 8
        return noise + (label - 0.5) * torch.ones(1, 4, 4), label


NETS = {
    "mlp": {"width": 16},
    "edm2": {"width": 8, "multipliers": [1], "attention": []},
    "dit": {"width": 16, "heads": 2, "blocks": 2},
}


def trained(steps=4, batch=72, optim="adamw", net="mlp", empty=False, low_rank=False, **options):
    torch.manual_seed(0)
    name, rate = net, {"lr": 0.1} if net == "edm2" else {}

    def make():
        made = build("net", name, spec=SPEC, **NETS[name])
        if low_rank:
            build("adapt", "lora", run="none", rank=2).change(made)
        return made

    net = hollowed(make) if empty else make()
    assert hollow(net) == empty
    denoiser = Denoiser(net, "edm", "edm", weighting="edm", times="lognormal")
    trainer = Trainer(
        denoiser,
        BatchStream(Squares(), batch, 0),
        build("optim", optim, warmup=0, decay="constant", **rate),
        steps=steps,
        ema=0.9,
        **options,
    )
    return trainer, [(step.loss.item(), step.grad_norm.item()) for step in trainer.run()]


@pytest.mark.parametrize("micro_batch", [1, 7, 24, 72, 100])
def test_gradients_of_micro_batches_add_up_to_those_of_the_batch(micro_batch):
    whole, losses = trained()
    parts, divided = trained(micro_batch=micro_batch)
    for one, other in zip(losses, divided, strict=True):
        assert one == pytest.approx(other, rel=2e-5)
    for one, other in zip(whole.parameters, parts.parameters, strict=True):
        torch.testing.assert_close(one, other, atol=2e-4, rtol=2e-3)


def test_auto_halves_the_micro_batch_until_it_fits_and_changes_nothing_else(monkeypatch):
    _, losses = trained()
    losses_of, asked = Denoiser.losses, []

    def small(self, x0, **given):
        asked.append(len(x0))
        if len(x0) > 20:
            raise torch.OutOfMemoryError("out of memory")
        return losses_of(self, x0, **given)

    monkeypatch.setattr(Denoiser, "losses", small)
    trainer, divided = trained(micro_batch="auto")
    assert trainer.micro_batch == 18
    assert asked[:3] == [72, 36, 18]
    assert divided[-1] == pytest.approx(losses[-1], rel=2e-5)


def test_a_batch_that_does_not_fit_is_refused_with_what_to_type(monkeypatch):
    def none(self, x0, **given):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(Denoiser, "losses", none)
    with pytest.raises(DiffkitError, match=r"a batch of 72 items does not fit .* train.micro_batch=auto"):
        trained()
    for micro_batch in (1, "auto"):
        with pytest.raises(DiffkitError, match=r"even one item at a time; take a smaller network"):
            trained(micro_batch=micro_batch)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_trains_as_full_precision_does_but_for_rounding(precision):
    _, losses = trained(steps=6)
    trainer, rounded = trained(steps=6, precision=precision)
    assert rounded[-1][0] == pytest.approx(losses[-1][0], rel=0.05)
    assert rounded[0][1] == pytest.approx(losses[0][1], rel=0.05), "the norm is that of gradients that are not scaled"
    assert all(p.dtype == torch.float32 for p in trainer.parameters)


def test_a_scaled_loss_that_overflows_leaves_the_step_out_and_lowers_the_scale():
    trainer, _ = trained(steps=1, precision="fp16")
    before = [p.clone() for p in trainer.parameters]
    trainer.scaler.load_state_dict({**trainer.scaler.state_dict(), "scale": 2.0**120})
    trainer.steps = 2
    list(trainer.run())
    assert trainer.scaler.get_scale() == 2.0**119
    assert all(map(torch.equal, before, trainer.parameters))
    assert trainer.guard.state()["skipped"] == 1


def test_compiled_training_resumes_from_and_into_eager_training():
    trainer, _ = trained()
    assert set(trainer.tensors()["model"]) == {name for name, _ in trainer.denoiser.net.named_parameters()}


@pytest.mark.parametrize(("text", "meant"), [("90m", 5400), ("2h", 7200), ("1h30m", 5400), ("1.5d", 129600), ("5s", 5)])
def test_a_time_is_read_as_people_write_it(text, meant):
    assert seconds(text) == meant


@pytest.mark.parametrize("text", ["", "2", "h", "2h5", "-1h", "two hours", "1h 30m"])
def test_what_is_not_a_time_is_refused(text):
    with pytest.raises(DiffkitError, match=r"is not a time; give one such as 90m"):
        seconds(text)


def test_a_run_whose_time_is_up_is_saved_and_says_so_to_a_scheduler(tmp_path, capsys):
    words = ("recipe=spirals", f"out={tmp_path}", "sample.n=2", "sampler.steps=2", "train.log_every=1")
    run = diffkit.train(*words, "train.steps=100000", "train.time=0.3s")
    assert run.status == 75
    assert 0 < run.step < 100000
    assert f"diffkit resume {run.path}" in capsys.readouterr().out
    assert resume(run.path, f"train.steps={run.step + 1}", "train.time=1h").status == 0


RANKS = """
import json, os, sys, torch
sys.path.insert(0, sys.argv[2])
from test_micro_batches import Squares, trained
from diffkit.data.stream import BatchStream
from diffkit.parallel import join_ranks
import test_micro_batches as here
ranks = join_ranks()
stream = lambda data, batch, seed: BatchStream(data, batch, seed, rank=ranks.rank, ranks=ranks.size)
here.BatchStream = stream
said = {}
for parallel in ("ddp", "fsdp"):
    for micro_batch in (0, 24):
        handed = parallel == "fsdp" and not ranks.first
        trainer, _ = trained(steps=0, ranks=ranks, parallel=parallel, micro_batch=micro_batch, empty=handed)
        trainer.steps = 4
        losses = [(ranks.mean(step.loss).item(), step.grad_norm.item()) for step in trainer.run()]
        state = trainer.tensors(), trainer.numbers()
        trainer.restore(*state)
        trainer.steps = 6
        losses += [(ranks.mean(step.loss).item(), step.grad_norm.item()) for step in trainer.run()]
        said[f"{parallel} {micro_batch}"] = losses
for optim in ("sgd", "lion", "schedule_free"):
    trainer, _ = trained(steps=0, optim=optim, ranks=ranks, parallel="fsdp", empty=not ranks.first)
    trainer.steps = 3
    said[optim] = [(ranks.mean(step.loss).item(), step.grad_norm.item()) for step in trainer.run()]
trainer, _ = trained(steps=0, net="edm2", ranks=ranks, parallel="fsdp", empty=not ranks.first)
trainer.steps = 6
said["edm2"] = [(ranks.mean(step.loss).item(), step.grad_norm.item()) for step in trainer.run()]
trainer, _ = trained(steps=0, net="dit", low_rank=True, ranks=ranks, parallel="fsdp", empty=not ranks.first)
trainer.steps = 6
said["low rank"] = [(ranks.mean(step.loss).item(), step.grad_norm.item()) for step in trainer.run()]
trainer, _ = trained(steps=0, ranks=ranks, parallel="fsdp", precision="bf16", empty=not ranks.first)
told = []
trainer.denoiser.net.register_forward_pre_hook(lambda _, given: told.extend(value.dtype for value in given))
trainer.steps = 1
list(trainer.run())
assert set(told) == {torch.float32}, "noise levels are not rounded"
if ranks.first:
    print(json.dumps(said))
assert ranks.told(ranks.rank) == 0 and ranks.least(ranks.rank + 3) == 3 and ranks.any(ranks.rank == 1)
"""


def test_two_ranks_train_as_one_does_replicated_or_in_shards_and_go_on_from_what_they_saved(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(RANKS)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*launch, script, "-", os.path.dirname(__file__)],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    said = json.loads(done.stdout)
    alone = {how: trained(steps=3, optim=how)[1] for how in ("sgd", "lion", "schedule_free")}
    alone["edm2"] = trained(steps=6, net="edm2")[1]
    alone["low rank"] = trained(steps=6, net="dit", low_rank=True)[1]
    alone |= dict.fromkeys(said.keys() - alone.keys(), trained(steps=6)[1])
    for how, losses in said.items():
        for step, (one, two) in enumerate(zip(alone[how], losses, strict=True)):
            assert two == pytest.approx(one, rel=1e-4), f"{how}, step {step}"


class Noted(torch.nn.Module):
    """Builds with what it is told to."""

    def __init__(self, note):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(3))
        self.register_buffer("table", torch.arange(3.0), persistent=False)
        self.note = note(self)


@pytest.mark.parametrize(
    ("note", "empty"),
    [
        (lambda _: torch.Size([3]), True),
        (lambda net: float(net.weight.detach().sum()), False),  # asks for a value
        (lambda _: torch.arange(3), False),  # keeps one that nobody would hand out
        (lambda _: [{"a": torch.arange(3)}], False),
    ],
    ids=["plain", "asks", "keeps", "keeps deep"],
)
def test_a_network_is_built_without_values_where_it_can_do_without(note, empty):
    net = hollowed(lambda: Noted(note))
    assert hollow(net) == net.table.is_meta == empty


def test_a_network_that_refuses_its_options_does_so_without_values_too():
    with pytest.raises(DiffkitError, match="width"):
        hollowed(lambda: build("net", "mlp", spec=SPEC, width=-1))


def test_what_cannot_be_divided_among_ranks_is_said():
    net = build("net", "mlp", spec=SPEC, width=16)
    net.gain = torch.nn.Parameter(torch.tensor(1.0))
    with pytest.raises(DiffkitError, match=r"gain of this network is a number .* torch.zeros\(1\), or choose parallel"):
        ShardedLoss(Denoiser(net, "edm", "edm"), "fp32")


class Nested(torch.nn.Module):
    """Lists of layers within layers of a list, and layers that are only a container."""

    def __init__(self):
        super().__init__()
        linear = torch.nn.Linear
        inner = torch.nn.Module()
        inner.layers = torch.nn.ModuleList([linear(2, 2), torch.nn.Identity()])
        parametrize.register_parametrization(inner.layers[0], "weight", linear(2, 2))
        self.blocks = torch.nn.ModuleList(
            [inner, torch.nn.ModuleList([linear(3, 3)]), torch.nn.ModuleDict({"a": linear(4, 4)})]
        )


def test_units_of_shards_are_layers_that_are_called_from_the_innermost_on():
    net = Nested()
    assert _units(net) == [net.blocks[1][0], net.blocks[0].layers[0], net.blocks[0]]
