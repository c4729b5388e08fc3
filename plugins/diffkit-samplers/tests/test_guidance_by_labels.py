"""Guidance by labels and conditions against closed forms, and how often the model is asked for it."""

import math

import pytest
import torch
from diffkit_samplers import CFG, DDIM, Classifier, Composed, Interval, KarrasGrid
from torch import nn

from diffkit import ConditionSpec, DataSpec, Denoiser, DiffkitError, build, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

for plugin in ("schedules", "objectives"):
    pytest.importorskip(f"diffkit_{plugin}")

X = torch.randn(5, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
LABEL = torch.tensor([0, 1, 2, 1, 0])
SPEC = DataSpec(1, (2,), ("red", "green", "blue"))
MEANS = torch.tensor([[0.9, 0.1], [-0.4, 0.7], [0.2, -0.8], [0.1, 0.0]], dtype=torch.float64)
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)


def level(t=0.5, schedule=SCHEDULES[0]):
    return levels(schedule, torch.tensor([t]), like=X)[0]


class Normals:
    """The exact denoiser of data that, given a label, is normal with variance 0.3²; the last mean is that of any."""

    variance = 0.09

    def __init__(self, schedule, means=MEANS):
        self.schedule, self.means, self.calls = schedule, means, []

    def __call__(self, x, at, **cond):
        self.calls.append(len(x))
        mean = self.means[cond["label"]] if "label" in cond else self.means[-1]
        gain = at.alpha * self.variance / (at.alpha**2 * self.variance + at.sigma**2)
        return mean + gain * (x - at.alpha * mean)

    def null(self, cond):
        return {**cond, "label": torch.full_like(cond["label"], len(self.means) - 1)}


def tilted(weights):
    """Return the mean of p(x) Π_i (p(x | i)/p(x))^w_i, which is normal with the same variance, for each label."""
    null = MEANS[-1]
    means = [null + sum(w * (MEANS[i] - null) for i, w in enumerate(row)) for row in weights]
    return torch.stack([*means, null])


# against the closed form of the tilted distribution


@schedules
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_cfg_of_normal_classes_is_the_denoiser_of_the_tilted_distribution(schedule, scale):
    means = tilted([[scale, 0, 0], [0, scale, 0], [0, 0, scale]])
    for t in (0.2, 0.5, 0.8):
        at = level(t, schedule)
        guided = CFG(scale)(Normals(schedule))(X, at, label=LABEL)
        assert torch.allclose(guided, Normals(schedule, means)(X, at, label=LABEL), rtol=0, atol=1e-12)


@schedules
def test_samples_with_cfg_of_normal_classes_follow_the_tilted_distribution(schedule):
    """On one and the same noise the guided trajectories are those of the tilted normal distribution."""
    means = tilted([[2.5, 0, 0], [0, 2.5, 0], [0, 0, 2.5]])
    guided, exact = (
        DDIM(15)(d, X, grid=KarrasGrid(), label=LABEL) for d in (CFG(2.5)(Normals(schedule)), Normals(schedule, means))
    )
    assert torch.allclose(guided, exact, rtol=0, atol=1e-10)


def test_nested_cfg_of_normal_classes_is_tilted_twice():
    """The outer one starts from the inner one's classes, whose null is the same: the scales multiply."""
    at = level()
    guided = CFG(1.5)(CFG(2.0)(Normals(SCHEDULES[0])))(X, at, label=LABEL)
    means = tilted([[3, 0, 0], [0, 3, 0], [0, 0, 3]])
    assert torch.allclose(guided, Normals(SCHEDULES[0], means)(X, at, label=LABEL), rtol=0, atol=1e-12)


class NormalsByCondition(nn.Module):
    """The exact network of data that is normal with variance 0.09 about a condition, or about 0 where there is none."""

    spec = DataSpec(2, (1,), conditions=(ConditionSpec("mean", "values", 2),))

    def forward(self, x, lam, mean):
        mean = torch.where(mean.isnan(), 0.0, mean)[:, :, None]
        alpha, sigma = ((sign * 2 * lam).sigmoid().sqrt()[:, None, None] for sign in (1, -1))
        return mean + alpha * 0.09 / (alpha**2 * 0.09 + sigma**2) * (x - alpha * mean)


@schedules
@pytest.mark.parametrize("scale", [0.0, 0.5, 1.0, 3.0])
def test_cfg_of_a_condition_without_labels_is_the_denoiser_of_the_tilted_distribution(schedule, scale):
    x, mean = X[:, :, None], torch.tensor([[0.9, -0.3], [0.2, 0.4]], dtype=torch.float64)[[0, 1, 0, 0, 1]]
    model = Denoiser(NormalsByCondition(), schedule, "x0")
    guided = CFG(scale, spec=model.spec)(model)
    for t in (0.2, 0.5, 0.8):
        at = level(t, schedule)
        exact = model(x, at, mean=scale * mean)  # p(x | mean)^scale p(x)^(1 - scale) is normal about scale * mean
        assert torch.allclose(guided(x, at, mean=mean), exact, rtol=0, atol=1e-12)


@schedules
@pytest.mark.parametrize(("others", "weights"), [([1], [1.0]), ([1, 2], [0.7, -1.3])])
def test_a_composition_of_normal_classes_is_the_denoiser_of_the_product_of_experts(schedule, others, weights):
    rows = torch.eye(3).double()
    for other, weight in zip(others, weights, strict=True):
        rows[:, other] += weight
    for scale in (0.0, 1.0, 2.0):
        at, model = level(0.45, schedule), Normals(schedule)
        guided = Composed(others, weights, scale)(model)(X, at, label=LABEL)
        exact = Normals(schedule, tilted((scale * rows).tolist()))(X, at, label=LABEL)
        assert torch.allclose(guided, exact, rtol=0, atol=1e-12)
        assert model.calls == [5 if scale == 0 else 5 * (2 + len(others))], "in one call"


@schedules
@pytest.mark.parametrize("t", [0.2, 0.5, 0.8])
def test_an_exact_classifier_turns_the_model_into_that_of_the_class(schedule, t):
    mixture, at = GaussianMixture.soft3(), level(t, schedule)

    def log_prob(x, at, label):
        logits = mixture._at(x, at.alpha, at.sigma)[0]
        return logits.log_softmax(1).gather(1, label[:, None])[:, 0]

    model = MixtureDenoiser(mixture, schedule)
    guided = Classifier(log_prob)(model)
    with torch.no_grad():
        assert torch.allclose(guided(X, at, label=LABEL), model(X, at, label=LABEL), rtol=0, atol=1e-9)
        none = Classifier(log_prob, scale=0.0)(model)(X, at, label=LABEL)
    assert torch.equal(none, model(X, at))


# negative labels


def test_a_negative_label_takes_the_place_of_the_null_label():
    at, model = level(), Normals(SCHEDULES[0])
    for negative in (2, "blue"):
        guided = CFG(2.0, negative, spec=SPEC)(model)(X, at, label=LABEL)
        good, bad = model(X, at, label=LABEL), model(X, at, label=torch.full((5,), 2))
        assert torch.allclose(guided, bad + 2 * (good - bad), rtol=0, atol=1e-12)
    assert torch.equal(CFG(0.0, 2)(model)(X, at, label=LABEL), bad)


# how often the model is asked


class Linear(nn.Module):
    """A network of labels."""

    def __init__(self, spec):
        super().__init__()
        self.spec, self.table = spec, nn.Embedding(len(spec.labels) + 1, 2)

    def forward(self, x, lam, label=None):
        return x * lam[:, None, None] + self.table(label)[:, None]


@pytest.mark.parametrize(
    ("guidance", "calls", "items"),
    [
        (CFG(1.0), 8, 8 * 5),
        (CFG(0.0), 8, 8 * 5),
        (CFG(2.0), 8, 2 * 8 * 5),
        (Composed([1], [1.0]), 8, 3 * 8 * 5),
        (CFG(2.0, base=CFG(2.0)), 8, 4 * 8 * 5),
    ],
)
def test_a_doubled_batch_is_one_call_and_two_evaluations_of_each_sample(guidance, calls, items):
    denoiser = Denoiser(Linear(SPEC), "cosine", "eps")
    DDIM(8)(guidance(denoiser), torch.randn(5, 1, 2), label=LABEL)
    assert (denoiser.evaluations, denoiser.items) == (calls, items)


def test_an_interval_evaluates_once_outside_and_twice_within():
    denoiser, guidance = Denoiser(Linear(SPEC), "cosine", "eps"), Interval(0.3, 3.0, 2.0)
    path = levels(denoiser.schedule, KarrasGrid()(denoiser.schedule, 8), like=X)
    DDIM(8).integrate(guidance(denoiser), torch.randn(5, 1, 2), path, label=LABEL)
    within = sum(0.3 < at.ratio <= 3 for at in path[:-1])
    assert 0 < within < 8
    assert (denoiser.evaluations, denoiser.items) == (8, (8 + within) * 5)


# refusals


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: build("guidance", "cfg", spec=DataSpec(1, (2,))), "^guidance 'cfg' compares"),  # named once
        (lambda: CFG(spec=DataSpec(1, (2,))), "this one has no labels and no conditions; choose guidance=none"),
        (lambda: CFG()(Denoiser(Linear(DataSpec(1, (2,))), "cosine", "eps")), "has no labels and no conditions"),
        (lambda: CFG()(Normals(SCHEDULES[0]))(X, level()), r"sample\.label"),
        (lambda: CFG(negative=1, spec=NormalsByCondition.spec), "names labels, but the model has no labels"),
        (lambda: Composed([1], [1.0])(Denoiser(Linear(DataSpec(1, (2,))), "cosine", "eps")), "the model has no labels"),
        (lambda: CFG(negative="rde", spec=SPEC), "did you mean 'red'"),
        (lambda: CFG(negative=3, spec=SPEC), "an index from 0 to 2"),
        (lambda: CFG(negative="red"), "give an index"),
        (lambda: Composed([], []), "one or more labels"),
        (lambda: Composed([1, 2], [1.0]), "a weight for each"),
        (lambda: Composed([1], [1.0])(Normals(SCHEDULES[0]))(X, level()), r"sample\.label"),
        (lambda: build("guidance", "composed"), "needs guidance.labels"),
        (lambda: Classifier(lambda x, at: x, math.inf), "scale=inf"),
    ],
)
def test_what_cannot_guide_by_labels_is_refused_in_a_sentence(make, said):
    with pytest.raises(DiffkitError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)
