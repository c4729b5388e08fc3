"""Guidance against exact conditional denoisers."""

import math

import pytest
import torch
from diffkit_samplers import CFG, DPMpp2M, Unguided

from diffkit import DiffkitError, Streams, build, levels
from diffkit.contracts.sampling import Denoise
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

X = torch.randn(4, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABEL = torch.tensor([0, 1, 2, 1])


def exact():
    return MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])


def level(t=0.5):
    return levels(SCHEDULES[0], torch.tensor([t]), like=X)[0]


@pytest.mark.parametrize("name", ["none", "cfg"])
def test_guidance_returns_a_denoiser(name):
    denoiser = exact()
    guided = build("guidance", name)(denoiser)
    assert isinstance(guided, Denoise)
    assert guided.schedule is denoiser.schedule
    assert guided.null({"label": LABEL})["label"].tolist() == [3, 3, 3, 3]


def test_no_guidance_returns_the_denoiser_itself():
    denoiser = exact()
    assert Unguided()(denoiser) is denoiser


@pytest.mark.parametrize("scale", [-1.0, 0.0, 0.5, 1.0, 1.5, 7.0])
def test_cfg_extrapolates_from_the_null_label_in_one_call(scale):
    denoiser = exact()
    guided = CFG(scale)(denoiser)(X, level(), label=LABEL)
    assert denoiser.evaluations == 1
    null, cond = denoiser(X, level()), denoiser(X, level(), label=LABEL)
    assert torch.allclose(guided, null + scale * (cond - null), rtol=0, atol=1e-12)


def test_scale_one_samples_the_conditional_model():
    denoiser = exact()
    one, two = (DPMpp2M(9)(d, X, streams=Streams(0, range(4)), label=LABEL) for d in (denoiser, CFG(1.0)(denoiser)))
    assert torch.equal(one, two)


def test_cfg_of_gaussian_conditionals_is_the_closed_form():
    """Classes N(±m, s²) of equal weight: E[x_0 | x, class] = (αs² x ± σ² m)/(α²s² + σ²), and without, tanh weighs ±."""
    m, s, scale, at = 0.8, 0.4, 2.5, level(0.45)
    mixture = GaussianMixture([1, 1], [[m], [-m]], [s**2, s**2])
    x = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    guided = CFG(scale)(MixtureDenoiser(mixture, SCHEDULES[0]))(x, at, label=torch.zeros(9, dtype=torch.long))
    v = at.alpha**2 * s**2 + at.sigma**2
    shared, apart = at.alpha * s**2 * x / v, at.sigma**2 * m / v
    tanh = torch.tanh(at.alpha * m * x / v)
    assert torch.allclose(guided, shared + apart * (tanh + scale * (1 - tanh)), rtol=0, atol=1e-12)


def test_guidances_nest():
    """The inner guidance of the null label is the null model, so that scales multiply."""
    denoiser = exact()
    nested = CFG(1.5)(CFG(2.0)(denoiser))
    assert torch.allclose(nested(X, level(), label=LABEL), CFG(3.0)(denoiser)(X, level(), label=LABEL), atol=1e-12)


def test_cfg_without_a_label_says_what_to_type():
    with pytest.raises(DiffkitError, match=r"sample\.label"):
        CFG()(exact())(X, level())


@pytest.mark.parametrize("scale", [math.nan, math.inf])
def test_the_scale_is_a_number(scale):
    with pytest.raises(DiffkitError, match="scale"):
        CFG(scale)
