"""A run whose model has learned how uncertain it is, by words alone."""

import pytest

import diffkit
from diffkit import DiffkitError

SMALL = ("net=mlp", "net.width=16", "net.blocks=1", "train.steps=3", "train.batch_size=8", "device=cpu", "sample.n=2")
LEARNED = ("prediction=learned_variance", "prediction.base=v", "guidance=null", "sampler=ddpm", "sampler.steps=3")


def test_it_trains_saves_loads_and_samples_by_the_variance(tmp_path):
    run = diffkit.train(*SMALL, *LEARNED, "sampler.variance=learned", f"out={tmp_path}")
    model = diffkit.load(run.path)
    assert model.denoiser.spec.outputs == 2
    before = model.denoiser.evaluations
    learned = model.sample(2, label=3, seed=0)
    assert model.denoiser.evaluations == before + 3
    assert learned.isfinite().all()
    small = diffkit.load(run.path, "sampler.variance=small").sample(2, label=3, seed=0)
    assert learned.shape == small.shape == (2, 1, 8, 8)
    assert not learned.equal(small)


def test_a_model_without_one_is_refused_before_it_trains(tmp_path):
    words = ("prediction=v", "sampler=ddpm", "sampler.variance=learned", f"out={tmp_path}")
    with pytest.raises(DiffkitError, match=r"prediction=learned_variance"):
        diffkit.train(*SMALL, *words)
    assert not list(tmp_path.glob("*/*"))
