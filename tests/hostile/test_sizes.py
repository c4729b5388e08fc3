"""Configs and specs that ask for all the memory there is: refused before any of it is taken."""

import json
import time

import pytest
import yaml

import diffkit
from diffkit import DiffkitError
from diffkit.run.bound import bounded
from diffkit.run.folder import RunFolder
from diffkit.run.train import resume

ENDLESS = 10**12
MODELS = {
    "a wide network": ("net", {"width": 100_000}),
    "a convolutional one": ("net", {"name": "unet", "width": 100_000}),
    "a transformer": ("net", {"name": "dit", "width": 64_000}),
    "one of a million blocks": ("net", {"name": "mlp", "width": 8, "blocks": 1_000_000}),
    "a table without end": ("schedule", {"name": "linear_table", "T": ENDLESS}),
    "a table of eight gigabytes": ("schedule", {"name": "linear_table", "T": 10**9}),
    "a schedule that learns": ("schedule", {"name": "learned", "width": ENDLESS}),
}
PLAIN = {
    "samples without end": ("sample", {"n": ENDLESS}),
    "a batch without end": ("train", {"batch_size": ENDLESS}),
    "a million processes": ("train", {"workers": 1_000_000}),
    "a thousand averages": ("train", {"ema": [0.5 + i / 10_000 for i in range(1000)]}),
    "a hundred lengths": ("train", {"ema_lengths": [0.01 + i / 1000 for i in range(100)]}),
    "steps without end": ("sampler", {"steps": 100_000_000}),
    "values without end": ("train", {"ema": [0.5] * 100_000}),
}
SPECS = {
    "an item without end": {"shape": [10**6, 10**6]},
    "channels without end": {"channels": ENDLESS},
    "a million axes": {"shape": [1] * 1_000_000},
    "a side of less than nothing": {"shape": [-8]},
    "no side": {"shape": [0]},
    "half a side": {"shape": [8.5]},
    "a side in words": {"shape": ["eight"]},
    "labels that are a number": {"labels": 5},
    "labels that are numbers": {"labels": [1, 2]},
    "a deviation in words": {"std": "x"},
    "a deviation that is none": {"std": float("nan")},
    "a field there is not": {"surprise": 1},
    **{
        f"a condition {what}": {"conditions": [{"name": "x", "kind": "values", "size": 1, **change}]}
        for what, change in {
            "without end": {"size": ENDLESS},
            "of a sequence without end": {"kind": "sequence", "length": ENDLESS},
            "of a kind there is not": {"kind": "smell"},
            "of an unhashable kind": {"kind": []},
            "without a name": {"name": 5},
        }.items()
    },
}


def configured(run, part, change):
    path = run / "config.yaml"
    config = yaml.safe_load(path.read_text())
    config[part] = {**change} if "name" in change else {**(config.get(part) or {}), **change}
    path.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("what", MODELS)
def test_of_a_model_that_could_not_have_these_weights(refused, trained, what):
    configured(trained, *MODELS[what])
    said = refused(diffkit.load, trained, "device=cpu")
    assert "config.yaml asks for a model of" in said and "but its weights have 0." in said


def test_nor_is_such_a_run_gone_on_with(refused, trained):
    configured(trained, *MODELS["a wide network"])
    assert "asks for a model of" in refused(resume, trained, "train.steps=31")


@pytest.mark.parametrize("what", PLAIN)
def test_of_plain_keys(refused, trained, what):
    configured(trained, *PLAIN[what])
    said = refused(diffkit.load, trained, "device=cpu")
    assert ("more than 10000 values" if what == "values without end" else next(iter(PLAIN[what][1]))) in said


@pytest.mark.parametrize("what", SPECS)
def test_of_data(refused, trained, what):
    path = trained / "data.json"
    values = json.loads(path.read_text())
    path.write_text(json.dumps({part: {**spec, **SPECS[what]} for part, spec in values.items()}))
    assert "data.json describes no data" in refused(diffkit.load, trained, "device=cpu")


class TestABoundOn:
    """What a third party's network computes when it is built, of ordinary size and of any."""

    @pytest.fixture
    def folder(self, trained):
        return RunFolder.find(trained)

    def test_a_build_lets_everything_ordinary_be_computed(self, folder):
        import numpy as np
        import torch

        def built():
            torch.manual_seed(0)
            net = torch.nn.ModuleList([torch.nn.Conv2d(8, 8, 3), torch.nn.TransformerEncoderLayer(16, 2, 32)])
            torch.nn.init.orthogonal_(net[0].weight)
            angles = torch.outer(torch.arange(64.0), torch.linspace(1, 2, 32).exp()).sin()
            net.register_buffer("table", angles.repeat(2, 1) @ torch.from_numpy(np.ones((32, 4), np.float32)))
            net.register_buffer("kept", (angles > angles.mean().item()).nonzero(), persistent=False)
            net.register_buffer("mask", torch.ones(2048, 2048).tril().bool())
            net.register_buffer("sum", torch.ones(1, 100_000) @ torch.ones(100_000, 1))
            return [*net.parameters(), *net.buffers(), torch.randn(4, generator=torch.Generator().manual_seed(1))]

        with bounded(folder):
            within = built()
        assert all(torch.equal(a, b) for a, b in zip(within, built(), strict=True)), "and nothing of it differs"

    def test_a_build_stops_whatever_would_be_too_much_before_it_is_made(self, folder, attempt):
        import torch

        n, ones = 100_000, torch.ones
        for make in (
            lambda: torch.empty(n, n),
            lambda: torch.eye(n),
            lambda: torch.linspace(0, 1, 10**9),
            lambda: torch.arange(10**9),
            lambda: ones(n, 1) * ones(1, n),
            lambda: torch.outer(ones(n), ones(n)),
            lambda: ones(n, 1) @ ones(1, n),
            lambda: ones(10).repeat(10**9),
            lambda: ones(1).expand(10**10).clone(),
            lambda: ones(1).new_zeros(n, n),
            lambda: torch.tril_indices(n, n),
            lambda: torch.randn(10**9, generator=torch.Generator()),
            lambda: torch.nn.functional.one_hot(torch.arange(n), n),
            lambda: [ones(8) for _ in range(10**6)],
        ):

            def built(make=make):
                with bounded(folder):
                    make()

            assert "asks for a model of" in attempt(built)

    def test_a_build_costs_little_time(self, folder):
        import torch

        def seconds(n=200):
            began = time.perf_counter()
            [torch.nn.Linear(8, 8) for _ in range(n)]
            return time.perf_counter() - began

        seconds()
        with bounded(folder):
            seconds(2)
            within = min(seconds() for _ in range(3))
        assert within < 30 * min(seconds() for _ in range(3))

    def test_an_error_of_what_is_built_is_left_as_it_is(self, folder):
        with pytest.raises(DiffkitError, match="mine"), bounded(folder):
            raise DiffkitError("mine")
