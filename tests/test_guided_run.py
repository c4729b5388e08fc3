"""Guidance of a run: by words, nested, and away from another run."""

import pytest
import torch
from diffkit_samplers import Autoguidance

import diffkit
from diffkit import DiffkitError


@pytest.fixture
def path(trained):
    return str(trained)


def samples(path, *words):
    model = diffkit.load(path, "device=cpu", "sampler.steps=4", *words)
    x = model.sample(3, seed=0, label=1)
    return x, model.denoiser.items // 3


def test_away_from_itself_a_run_is_itself_at_twice_the_evaluations(path):
    plain, once = samples(path)
    guided, twice = samples(path, "guidance=autoguidance", f"guidance.run={path}", "guidance.scale=3")
    assert torch.allclose(guided, plain, atol=1e-5)
    assert twice == 2 * once


def test_a_guidance_around_another_is_given_in_words(path):
    words = f"guidance.base={{name: autoguidance, run: {path}, scale: 3}}"
    nested, evaluations = samples(path, "guidance=cfg", "guidance.scale=2", words)
    plain, once = samples(path, "guidance=cfg", "guidance.scale=2")
    assert torch.allclose(nested, plain, atol=1e-4)
    assert evaluations == 2 * once


def test_the_weak_model_may_be_an_earlier_checkpoint(path, trained):
    words = ("guidance=autoguidance", f"guidance.run={path}", "guidance.scale=3")
    step = int(max(trained.glob("checkpoints/step-*")).name.removeprefix("step-"))
    assert torch.equal(samples(path, *words, f"guidance.step={step}")[0], samples(path, *words)[0])
    with pytest.raises(DiffkitError, match="999"):
        samples(path, *words, "guidance.step=999")
    with pytest.raises(DiffkitError, match="step=3"):
        Autoguidance(diffkit.load(path).denoiser, step=3)


def test_a_run_that_is_not_there_is_named(path):
    with pytest.raises(DiffkitError, match="no/such/run"):
        samples(path, "guidance=autoguidance", "guidance.run=no/such/run")
    assert Autoguidance("no/such/run"), "it is looked for when it is needed"
