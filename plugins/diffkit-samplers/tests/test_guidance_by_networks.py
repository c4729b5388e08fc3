"""Guidance away from a weaker network: another run, or the same with its attention perturbed."""

from dataclasses import replace

import pytest
import torch
from diffkit_samplers import CFG, DDIM, Autoguidance, PerturbedAttention, SmoothedEnergy
from diffkit_samplers.guidance.smoothed_energy import gaussian
from torch import nn
from torch.nn.functional import scaled_dot_product_attention

from diffkit import ConditionSpec, DataSpec, Denoiser, DiffkitError, Streams, build, levels
from diffkit.contracts.network import Attentive
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

for plugin in ("schedules", "objectives"):
    pytest.importorskip(f"diffkit_{plugin}")

SPEC = DataSpec(2, (3, 4), ("a", "b"))
LABEL = torch.tensor([0, 1, 1])
X = torch.randn(3, 2, 3, 4, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


class Layer(nn.Module):
    """Attention, as the contract has it."""

    def __init__(self, shape):
        super().__init__()
        self.shape = shape

    def forward(self, q, k, v):
        return scaled_dot_product_attention(q, k, v)


class Net(nn.Module):
    """Two attention layers over 3 x 4 positions. ``change`` is done to (q, k, v) of layer ``where``, for comparison."""

    def __init__(self, spec=SPEC):
        super().__init__()
        self.spec, (self.change, self.where) = spec, (None, 0)
        self.layers = nn.ModuleList(Layer(spec.shape) for _ in range(2))
        self.maps = nn.ModuleList(nn.Linear(spec.channels, 3 * spec.channels) for _ in range(2))
        self.table = nn.Embedding(len(spec.labels) + 1, spec.channels)

    def attentions(self):
        return list(self.layers)

    def forward(self, x, lam, label=None):
        h = x.flatten(2).mT[:, None]
        if label is not None:
            h = h + self.table(label)[:, None, None]
        for i, (layer, project) in enumerate(zip(self.layers, self.maps, strict=True)):
            q, k, v = project(h).chunk(3, -1)
            attend = self.change if self.change is not None and i == self.where else layer
            h = h + attend(q, k, v)
        return h[:, 0].mT.reshape(x.shape) * lam.reshape(-1, 1, 1, 1).sigmoid()


@pytest.fixture
def denoiser():
    torch.manual_seed(0)
    return Denoiser(Net().double(), "cosine", "v").requires_grad_(False)


def level(denoiser, t=0.5):
    return levels(denoiser.schedule, torch.tensor([t]), like=X)[0]


def perturbed(denoiser, change, where, **cond):
    """Return the estimate of the same network with ``change`` in place of a layer's attention."""
    denoiser.net.change, denoiser.net.where = change, where
    bad = denoiser(X, level(denoiser), **cond)
    denoiser.net.change = None
    return bad


def blurred(width):
    """Return attention with queries blurred over 3 x 4 positions."""
    rows, columns = gaussian(3, width), gaussian(4, width)
    kernel = torch.kron(rows, columns)
    return lambda q, k, v: scaled_dot_product_attention(kernel @ q, k, v)


CHANGES = {
    "perturbed_attention": (lambda **o: PerturbedAttention(2.5, **o), lambda q, k, v: v),
    "smoothed_energy": (lambda **o: SmoothedEnergy(2.5, 0.8, **o), blurred(0.8)),
    "smoothed_energy, unbounded": (
        lambda **o: SmoothedEnergy(2.5, **o),
        lambda q, k, v: scaled_dot_product_attention(q.mean(-2, keepdim=True).expand_as(q), k, v),
    ),
}
changes = pytest.mark.parametrize(("make", "change"), CHANGES.values(), ids=CHANGES)


@changes
@pytest.mark.parametrize("layers", [None, [0], [1]])
def test_attention_is_perturbed_in_the_layers_that_were_chosen_and_in_one_call(denoiser, make, change, layers):
    at = level(denoiser)
    good = denoiser(X, at, label=LABEL)
    bad = perturbed(denoiser, change, 1 if layers is None else layers[0], label=LABEL)
    before = denoiser.evaluations, denoiser.items
    guided = make(layers=layers)(denoiser)(X, at, label=LABEL)
    assert (denoiser.evaluations, denoiser.items) == (before[0] + 1, before[1] + 6)
    assert (good - bad).abs().max() > 1e-3
    assert torch.allclose(guided, bad + 2.5 * (good - bad), rtol=0, atol=1e-12)


@changes
def test_the_network_is_left_as_it_was(denoiser, make, change):
    at = level(denoiser)
    before = denoiser(X, at, label=LABEL)
    make()(denoiser)(X, at, label=LABEL)
    with pytest.raises(RuntimeError):
        make()(denoiser)(X[:, :1], at, label=LABEL)
    assert torch.equal(denoiser(X, at, label=LABEL), before)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in denoiser.net.attentions())


@changes
def test_inside_or_around_cfg_the_same_items_are_perturbed(denoiser, make, change):
    at, null = level(denoiser), {"label": torch.full_like(LABEL, 2)}
    goods = [denoiser(X, at, **cond) for cond in ({"label": LABEL}, null)]
    bads = [perturbed(denoiser, change, 1, **cond) for cond in ({"label": LABEL}, null)]
    (label, any_label) = (bad + 2.5 * (good - bad) for good, bad in zip(goods, bads, strict=True))
    expected = any_label + 3 * (label - any_label)
    for guidance in (CFG(3.0, base=make()), make(base=CFG(3.0))):
        guided = guidance(denoiser)(X, at, label=LABEL)
        assert torch.allclose(guided, expected, rtol=0, atol=1e-11)


@changes
def test_scale_one_is_the_model_exactly(denoiser, make, change):
    guidance = make()
    guidance.scale = 1.0
    assert torch.equal(guidance(denoiser)(X, level(denoiser)), denoiser(X, level(denoiser)))


def test_attention_guidance_needs_no_labels():
    denoiser = Denoiser(Net(DataSpec(2, (3, 4))), "cosine", "v")
    x = DDIM(3)(PerturbedAttention()(denoiser), X.float(), streams=Streams(0, range(3)))
    assert x.isfinite().all()
    assert isinstance(denoiser.net, Attentive)


def test_a_blur_is_a_mean_where_it_is_wide_and_nothing_where_it_is_narrow():
    assert torch.allclose(gaussian(5, 1e4), torch.full((5, 5), 0.2).double(), atol=1e-6)
    assert torch.allclose(gaussian(5, 0.05), torch.eye(5).double(), atol=1e-12)


# a weaker model


class Exact(MixtureDenoiser):
    """A denoiser of data with another spread."""

    def __init__(self, variance, spec=None):
        super().__init__(GaussianMixture([1.0], [[0.0, 0.0]], [variance]), SCHEDULES[0])
        self.spec = spec


@pytest.mark.parametrize("scale", [0.0, 1.0, 2.0, 3.5])
def test_autoguidance_extrapolates_from_the_weak_model(scale):
    strong, weak, x = Exact(0.2), Exact(0.5), X.flatten(1)[:, :2]
    at = levels(SCHEDULES[0], torch.tensor([0.5]), like=x)[0]
    guided = Autoguidance(weak, scale)(strong)(x, at)
    asked = (strong.evaluations, weak.evaluations)
    assert asked == {0.0: (0, 1), 1.0: (1, 0)}.get(scale, (1, 1)), "no more than the scale needs"
    good, bad = strong(x, at), weak(x, at)
    assert torch.allclose(guided, bad + scale * (good - bad), rtol=0, atol=1e-12)


def test_autoguidance_of_normal_data_is_the_denoiser_of_the_sharper_distribution():
    """Scores of p^w q^(1-w) for normal p and q at one noise level: precisions combine linearly."""
    strong, weak, w, x = Exact(0.2), Exact(0.5), 1.5, X.flatten(1)[:, :2]
    at = levels(SCHEDULES[1], torch.tensor([0.5]), like=x)[0]
    guided = Autoguidance(weak, w)(strong)(x, at)
    variances = [at.alpha**2 * v + at.sigma**2 for v in (0.2, 0.5)]
    precision = w / variances[0] + (1 - w) / variances[1]
    assert torch.allclose(guided, (x - at.sigma**2 * precision * x) / at.alpha, rtol=0, atol=1e-12)


def test_the_weak_models_evaluations_count(denoiser):
    weak = Denoiser(Net().double(), "flow", "x0", spec=SPEC)
    Autoguidance(weak)(denoiser)(X, level(denoiser), label=LABEL)
    assert denoiser.items == 6
    assert weak.items == 3


def test_two_labels_guide_within_autoguidance(denoiser):
    """From Python guidances nest by being called on one another."""
    weak, at = Denoiser(Net().double(), "flow", "x0", spec=SPEC), level(denoiser)
    guided = CFG(2.0)(Autoguidance(weak, 3.0)(denoiser))(X, at, label=LABEL)
    both = [
        weak(X, at, **c) + 3 * (denoiser(X, at, **c) - weak(X, at, **c))
        for c in ({"label": LABEL}, {"label": LABEL * 0 + 2})
    ]
    assert torch.allclose(guided, both[1] + 2 * (both[0] - both[1]), rtol=0, atol=1e-12)


# refusals


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda d: Autoguidance(Exact(0.5, DataSpec(1, (8, 8))))(d), r"sees 2 x 3 x 4 with 2 labels .* 1 x 8 x 8"),
        (
            lambda d: Autoguidance(Exact(0.5, replace(SPEC, conditions=(ConditionSpec("age", "values", 1),))))(d),
            "the weak one 2 x 3 x 4 with 2 labels and age",
        ),
        (lambda d: Autoguidance("no/such/run")(d), "no/such/run"),
        (lambda d: build("guidance", "autoguidance"), "needs guidance.run"),
        (lambda d: PerturbedAttention(layers=[2])(d), r"layers=\[2\] .* 0 to 1"),
        (lambda d: PerturbedAttention(layers=[])(d), r"layers=\[\]"),
        (lambda d: SmoothedEnergy()(Exact(0.5)), "perturbs attention, of which the model has none"),
        (lambda d: PerturbedAttention()(Denoiser(nn.Linear(2, 2), "cosine", "v")), "Linear has none"),
        (lambda d: SmoothedEnergy(blur=0.0), "blur=0"),
    ],
)
def test_what_cannot_guide_by_networks_is_refused_in_a_sentence(denoiser, make, said):
    with pytest.raises(DiffkitError, match=said) as refused:
        make(denoiser)
    assert "\n" not in str(refused.value)
