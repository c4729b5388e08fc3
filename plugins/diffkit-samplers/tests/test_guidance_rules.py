"""What changes another guidance: in an interval, rescaled, thresholded, projected, CFG++, CFG-Zero*."""

import math
from itertools import pairwise

import pytest
import torch
from diffkit_samplers import (
    APG,
    CFG,
    DDIM,
    CFGpp,
    Composed,
    DPMpp2M,
    DynamicThreshold,
    Interval,
    KarrasGrid,
    Rescale,
    Unguided,
    UniformGrid,
    ZeroInit,
)

from diffkit import DataSpec, DiffkitError, Streams, build, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

SCHEDULE = SCHEDULES[0]
X = torch.randn(6, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
LABEL = torch.tensor([0, 1, 2, 3, 4, 5])
RULES = [Interval, Rescale, APG, ZeroInit]
schedules = pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)


def exact(schedule=SCHEDULE):
    return MixtureDenoiser(GaussianMixture.ring8(), schedule)


def level(t=0.5, schedule=SCHEDULE):
    return levels(schedule, torch.tensor([t]), like=X)[0]


def estimates(at, denoiser=None):
    """Return the estimates with the label and without."""
    denoiser = denoiser or exact()
    return denoiser(X, at, label=LABEL), denoiser(X, at)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("t", [0.05, 0.5, 0.95])
def test_scale_one_is_the_conditional_model_exactly(rule, t):
    denoiser = exact()
    guided = rule(scale=1.0)(denoiser)(X, level(t), label=LABEL)
    assert denoiser.evaluations == 1
    assert torch.equal(guided, denoiser(X, level(t), label=LABEL))


@pytest.mark.parametrize(
    "neutral",
    [
        lambda scale: Interval(0.0, math.inf, scale),
        lambda scale: Rescale(0.0, scale),
        lambda scale: APG(scale, eta=1.0),
        lambda scale: DynamicThreshold(1.0, bound=1e9, scale=scale),
    ],
)
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_without_their_effect_they_are_the_guidance_itself(neutral, scale):
    guided, plain = (g(exact())(X, level(), label=LABEL) for g in (neutral(scale), CFG(scale)))
    assert torch.allclose(guided, plain, rtol=0, atol=1e-12)


# in an interval


def test_outside_the_interval_it_is_the_model_as_it_is_at_its_cost():
    denoiser, guidance = exact(), Interval(0.3, 3.0, 4.0)
    guided = guidance(denoiser)
    for t in torch.linspace(0, 1, 21).tolist():
        at = level(t)
        before = denoiser.evaluations
        found = guided(X, at, label=LABEL)
        assert denoiser.evaluations == before + 1
        expected = CFG(4.0)(denoiser) if 0.3 < at.ratio <= 3 else denoiser
        assert torch.equal(found, expected(X, at, label=LABEL))


def test_an_empty_interval_samples_the_conditional_model():
    plain, guided = (
        DPMpp2M(9)(d, X, streams=Streams(0, range(6)), label=LABEL)
        for d in (exact(), Interval(1e-9, 1e-8, 7.0)(exact()))
    )
    assert torch.equal(plain, guided)


def test_the_interval_is_relative_to_the_data():
    assert (Interval().sigma_min, Interval().sigma_max) == pytest.approx((0.28, 2.9))
    wide = Interval(spec=DataSpec(1, (4,), ("a", "b"), std=2.0))
    assert (wide.sigma_min, wide.sigma_max) == pytest.approx((4 * 0.28, 4 * 2.9))


# rescaled and thresholded


def test_rescaled_in_full_it_has_the_standard_deviation_of_the_conditional_estimate():
    at = level()
    guided = Rescale(1.0, 6.0)(exact())(X, at, label=LABEL)
    good, _ = estimates(at)
    assert torch.allclose(guided.std(1), good.std(1), rtol=1e-9)
    assert not torch.allclose(CFG(6.0)(exact())(X, at, label=LABEL).std(1), good.std(1), rtol=0.1)


def test_rescaled_in_part_it_is_as_far_between():
    at = level()
    none, half, full = (Rescale(phi, 6.0)(exact())(X, at, label=LABEL) for phi in (0.0, 0.5, 1.0))
    assert torch.allclose(half, (none + full) / 2, rtol=0, atol=1e-12)


class Constant:
    """A denoiser that answers the same everywhere."""

    def __init__(self, x0):
        self.x0, self.schedule = x0, SCHEDULE

    def __call__(self, x, at, **cond):
        return self.x0

    def null(self, cond):
        return cond


def test_a_threshold_cuts_each_sample_at_its_own_percentile_and_scales_it_into_the_range():
    x0 = torch.stack((torch.linspace(-0.9, 0.9, 100), torch.linspace(-4, 4, 100), torch.linspace(-2, 8, 100)))
    found = DynamicThreshold(0.9, base="none")(Constant(x0))(x0, level())
    assert torch.equal(found[0], x0[0]), "within the range it stays as it is"
    for row, given in zip(found[1:], x0[1:], strict=True):
        limit = given.abs().sort().values[89]
        assert torch.allclose(row, given.clamp(-limit, limit) / limit)
        assert row.abs().max() == pytest.approx(1)


# projected


@pytest.mark.parametrize("scale", [2.0, 9.0])
def test_projected_guidance_moves_across_the_conditional_estimate_only(scale):
    at = level()
    good, bad = estimates(at)
    moved = APG(scale)(exact())(X, at, label=LABEL) - good
    assert torch.allclose((moved * good).sum(1), torch.zeros(6).double(), atol=1e-10)
    share = ((good - bad) * good).sum(1, keepdim=True) / good.square().sum(1, keepdim=True)
    assert torch.allclose(moved, (scale - 1) * (good - bad - share * good), rtol=0, atol=1e-10)


def test_projected_guidance_is_no_longer_than_its_norm_allows():
    at = level()
    good, bad = estimates(at)
    moved = (APG(3.0, eta=1.0, norm=0.65)(exact())(X, at, label=LABEL) - good).norm(dim=1)
    free = (good - bad).norm(dim=1)
    assert (free > 0.65).any()
    assert (free < 0.65).any()
    assert torch.allclose(moved, 2 * free.clamp(max=0.65), rtol=1e-9)


def test_momentum_adds_what_guided_at_the_level_before_and_begins_anew_with_more_noise():
    guided = APG(3.0, eta=1.0, momentum=-0.5)(exact())
    for _ in range(2):  # two trajectories
        expected = 0.0
        for at in (level(t) for t in (0.9, 0.6, 0.3)):
            good, bad = estimates(at)
            expected = good - bad - 0.5 * expected
            for _ in range(2):  # as a solver may that looks at one level twice
                moved = guided(X, at, label=LABEL) - good
                assert torch.allclose(moved, 2 * expected, rtol=0, atol=1e-12)


def test_momentum_within_momentum_remembers_on_its_own():
    twice = APG(eta=1.0, momentum=0.25, base=APG(3.0, eta=1.0, momentum=-0.5))(exact())
    inner = outer = 0.0
    for at in (level(t) for t in (0.9, 0.6, 0.3)):
        good, bad = estimates(at)
        inner = good - bad - 0.5 * inner
        outer = inner + 0.25 * outer
        assert torch.allclose(twice(X, at, label=LABEL) - good, 2 * outer, rtol=0, atol=1e-12)


# CFG++


@schedules
@pytest.mark.parametrize(("grid", "name"), [(UniformGrid(), "uniform"), (KarrasGrid(), "karras")])
@pytest.mark.parametrize("w", [0.2, 0.6, 1.0])
def test_ddim_with_cfg_pp_takes_the_steps_of_the_paper(schedule, grid, name, w):
    """x' = α' (D_null + w (D_label - D_null)) + σ' ε_null, with the noise of the model without guidance."""
    denoiser, steps = exact(schedule), 12
    path = levels(schedule, grid(schedule, steps), like=X)
    x = path[0].sigma * X
    for now, then in pairwise(path):
        good, bad = denoiser(x, now, label=LABEL), denoiser(x, now)
        x = then.alpha * (bad + w * (good - bad)) + then.sigma * (x - now.alpha * bad) / now.sigma
    found = DDIM(steps)(CFGpp(w, steps, name)(denoiser), X, grid=grid, label=LABEL)
    assert torch.allclose(found, x, rtol=0, atol=1e-9)


def test_cfg_pp_is_guidance_by_a_scale_between_those_of_its_levels():
    guidance, denoiser = CFGpp(0.6, steps=10), exact()
    scales = [guidance.strength(denoiser, level(t)) for t in (0.8, 0.77, 0.73, 0.7)]
    assert sorted(scales, reverse=scales[0] > scales[-1]) == scales
    assert guidance.strength(denoiser, level(0.0)) == pytest.approx(0.6)


# CFG-Zero*


@schedules
def test_zero_init_stands_still_at_first_without_an_evaluation(schedule):
    denoiser = exact(schedule)
    guided = ZeroInit(sigma_zero=24.0, scale=3.0)(denoiser)
    path = levels(schedule, UniformGrid()(schedule, 40), like=X)
    still = [at for at in path if 24 < at.ratio < math.inf]
    assert len(still) > 5
    x = DDIM().integrate(guided, path[0].sigma * X, path[: len(still) + 1], label=LABEL)
    before, after = path[0], path[len(still)]
    assert denoiser.evaluations == 0
    assert torch.allclose(x / (after.alpha + after.sigma), path[0].sigma * X / (before.alpha + before.sigma))
    guided(X, after, label=LABEL)
    assert denoiser.evaluations == 1


@schedules
def test_zero_init_fits_the_worse_velocity_to_the_better_one(schedule):
    at = level(0.4, schedule)
    good, bad = estimates(at, exact(schedule))
    y, tau = X / (at.alpha + at.sigma), at.sigma / (at.alpha + at.sigma)
    v_good, v_bad = (y - good) / tau, (y - bad) / tau
    fit = torch.cat([torch.linalg.lstsq(b[:, None], g[:, None]).solution for g, b in zip(v_good, v_bad, strict=True)])
    velocity = fit * v_bad + 3 * (v_good - fit * v_bad)
    guided = ZeroInit(None, 3.0)(exact(schedule))(X, at, label=LABEL)
    assert torch.allclose(guided, y - tau * velocity, rtol=0, atol=1e-10)


# nested


def test_rules_nest_in_any_order_by_name_as_mappings_and_as_objects():
    at = level()
    ways = [
        {"name": "rescale", "base": {"name": "apg", "base": {"name": "cfg", "scale": 4.0}}},
        {"name": "rescale", "scale": 4.0, "base": "apg"},
        Rescale(base=APG(base=CFG(4.0))),
        Rescale(scale=4.0, base="apg"),
    ]
    found = [(build("guidance", w) if isinstance(w, dict) else w)(exact())(X, at, label=LABEL) for w in ways]
    assert all(torch.equal(one, found[0]) for one in found)
    good, _ = estimates(at)
    projected = APG(4.0)(exact())(X, at, label=LABEL)
    ratio = good.std(1, correction=0) / projected.std(1, correction=0)
    assert torch.allclose(found[0], projected * (0.7 * ratio + 0.3)[:, None], rtol=0, atol=1e-9)


def test_an_interval_of_a_rescaled_guidance_is_rescaled_within_it():
    at, outside = level(0.5), level(0.95)
    rescaled, limited = Rescale(0.7, 5.0), Interval(0.3, 3.0, base=Rescale(0.7, 5.0))
    assert torch.equal(limited(exact())(X, at, label=LABEL), rescaled(exact())(X, at, label=LABEL))
    assert torch.equal(limited(exact())(X, outside, label=LABEL), exact()(X, outside, label=LABEL))


def test_the_inner_guidance_is_followed_by_both_estimates_of_the_outer():
    """A constant push of the inner one cancels in the difference and stays in the result."""

    class Push:
        def __call__(self, denoiser):
            class Pushed(MixtureDenoiser):
                def __call__(self, x, at, **cond):
                    return denoiser(x, at, **cond) + 0.25

            return Pushed(denoiser.mixture, denoiser.schedule)

    at = level()
    found, plain = (CFG(3.0, base=base)(exact())(X, at, label=LABEL) for base in (Push(), None))
    assert torch.allclose(found, plain + 0.25, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Interval(2.0, 1.0), "sigma_min=2 and sigma_max=1"),
        (lambda: Interval(-1.0, 1.0), "sigma_min=-1"),
        (lambda: Rescale(1.5), "phi=1.5"),
        (lambda: APG(norm=0.0), "norm=0"),
        (lambda: APG(momentum=1.0), "momentum=1"),
        (lambda: APG(scale=math.nan), "scale=nan"),
        (lambda: CFGpp(steps=0), "steps=0"),
        (lambda: ZeroInit(0.0), "sigma_zero=0"),
        (lambda: DynamicThreshold(0.0), "percentile=0"),
        (lambda: DynamicThreshold(bound=-1.0), "bound=-1"),
        (lambda: APG(base="none"), "no two estimates"),
        (lambda: Rescale(base=Unguided()), "no two estimates"),
        (lambda: APG(base="dynamic_threshold"), "no two estimates"),
        (lambda: APG(2.0, base=CFG(3.0)), "scale=2.0 is given beside"),
        (lambda: Rescale(scale=2.0, base={"name": "cfg", "scale": 3.0}), "give it once"),
        (lambda: Rescale(base="cgf"), "did you mean 'cfg'"),
        (lambda: Interval(spec=DataSpec(1, (4,))), "no labels"),
    ],
)
def test_what_cannot_guide_is_refused_in_a_sentence(make, said):
    with pytest.raises(DiffkitError, match=said) as refused:
        make()
    assert "\n" not in str(refused.value)


# nested


@pytest.mark.parametrize("rule", [CFGpp, ZeroInit])
def test_what_works_outside_of_an_interval_is_not_put_around_it(rule):
    for base in ("interval", {"name": "rescale", "base": "interval"}):
        with pytest.raises(DiffkitError, match=r"put the interval around it: guidance=interval guidance.base="):
            rule(base=base)


def test_an_interval_of_several_labels_is_the_model_as_it_is_elsewhere_at_its_cost():
    denoiser = exact()
    guided = Interval(0.5, 2.0, base=Composed([1], [2.0]))(denoiser)
    for t in (0.05, 0.95):
        at, before = level(t), denoiser.evaluations
        assert not 0.5 < at.ratio <= 2.0
        assert torch.equal(guided(X, at, label=LABEL), denoiser(X, at, label=LABEL))
        assert denoiser.evaluations == before + 2
    assert torch.equal(guided(X, level(), label=LABEL), Composed([1], [2.0])(denoiser)(X, level(), label=LABEL))


def test_rescaling_does_not_end_where_the_scale_reaches_zero():
    guided = [Rescale(1.0, scale)(exact())(X, level(), label=LABEL) for scale in (0.0, 1e-9)]
    assert torch.allclose(*guided, atol=1e-6)


def test_momentum_keeps_no_graph_of_earlier_steps():
    guided = APG(scale=3.0, momentum=-0.5)(exact())
    for t in (0.8, 0.6, 0.4):
        x = X.clone().requires_grad_()
        guided(x, level(t), label=LABEL).sum().backward()
    assert not guided.denoiser.last.requires_grad
    assert not guided.denoiser.before.requires_grad
