"""Weights and levels led by gradients to where a model's trajectories end."""

import pytest
import torch
from diffkit_samplers.descent import Course, Descent, basis, cost, descend
from diffkit_samplers.exp_adams import ExpAdams
from diffkit_samplers.fitting import walk
from diffkit_samplers.grids.rational import RationalGrid
from diffkit_samplers.pilot import Pilot

from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

STEPS = 5
FITTED, JUDGES = slice(96), slice(96, None)
RING = GaussianMixture.ring8()
SCALE = RING.covariance().diagonal().mean().sqrt().item()


def followed(denoiser, steps=STEPS):
    """Return a pilot, and where its descent starts."""
    noise = torch.randn(128, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pilot = Pilot.follow(denoiser, noise, 100, SCALE, {})
    lams = denoiser.schedule.lam(RationalGrid(SCALE)(denoiser.schedule, steps))
    way = walk(denoiser, pilot, lams, ExpAdams(steps, 4, SCALE), fitted=FITTED, cond={})
    return pilot, Descent(way.rows, way.missed[JUDGES].mean().item())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
def test_the_gradient_of_where_steps_end_is_that_of_finite_differences(schedule, monkeypatch):
    monkeypatch.setattr("diffkit_samplers.descent.SHIFT", 1e-5)
    denoiser = MixtureDenoiser(RING, schedule)
    pilot, start = followed(denoiser)
    course = Course(denoiser, pilot, start, SCALE, FITTED, {})
    theta = 0.05 * torch.randn(course.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    theta.requires_grad_()
    course.missed(theta, FITTED).mean().backward()
    with torch.no_grad():
        for i, slope in enumerate(theta.grad.tolist()):
            aside = torch.zeros_like(theta)
            aside[i] = 1e-5
            there, back = (course.missed(theta + sign * aside, FITTED).mean().item() for sign in (1, -1))
            assert (there - back) / 2e-5 == pytest.approx(slope, rel=1e-3, abs=1e-4)


def test_a_course_starts_at_its_rows_and_misses_what_they_missed():
    denoiser = MixtureDenoiser(RING, SCHEDULES[0])
    pilot, start = followed(denoiser)
    course = Course(denoiser, pilot, start, SCALE, FITTED, {})
    nothing = torch.zeros(course.size, dtype=torch.float64)
    for row, own in zip(course.rows(nothing), start.rows, strict=True):
        assert row == pytest.approx(own)
    assert course.missed(nothing, JUDGES).mean().item() == pytest.approx(start.error)


def test_whatever_changes_weights_add_up_to_one_and_levels_keep_their_order_within_the_pilot():
    denoiser = MixtureDenoiser(RING, SCHEDULES[0])
    pilot, start = followed(denoiser)
    course = Course(denoiser, pilot, start, SCALE, FITTED, {})
    lams, weights = course.at(torch.randn(course.size, dtype=torch.float64))
    assert lams[0] == pilot.lam[0]
    assert lams[-1] < pilot.lam[-1]
    assert (lams.diff() > 0).all()
    assert [row.sum().item() for row in weights] == pytest.approx([1.0] * STEPS)


def test_a_descent_ends_nearer_and_within_what_it_may_cost():
    mixture = GaussianMixture.soft3()
    denoiser = MixtureDenoiser(mixture, SCHEDULES[0])
    pilot, start = followed(denoiser, steps=16)
    before = denoiser.evaluations
    found = descend(denoiser, pilot, start, SCALE, fitted=FITTED, judges=JUDGES, cond={})
    assert denoiser.evaluations - before <= cost(16)
    assert found.error < 0.9 * start.error
    course = Course(denoiser, pilot, found, SCALE, FITTED, {})
    assert course.missed(torch.zeros(course.size).double(), JUDGES).mean().item() == pytest.approx(found.error)


def test_what_suits_one_sample_and_no_other_is_not_taken():
    denoiser = MixtureDenoiser(RING, SCHEDULES[0])
    pilot, start = followed(denoiser)
    assert descend(denoiser, pilot, start, SCALE, fitted=slice(1), judges=JUDGES, cond={}) == start


def test_a_basis_moves_a_step_by_one_length_whichever_way():
    points = torch.randn(4, 500, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points[2:] = points[2:] / 100 + points[1]
    end = torch.zeros(1, 3, dtype=torch.float64)
    columns = basis(points, 1)
    moved = torch.einsum("kc,knm->cnm", torch.cat((columns, end)) - torch.cat((end, columns)), points)
    assert moved.square().mean((1, 2)).sqrt().tolist() == pytest.approx([1.0] * 3, abs=0.01)
    assert (moved[0] * moved[1]).mean().abs() < 0.01


class _Opaque(MixtureDenoiser):
    """Gives no gradient."""

    @torch.no_grad()
    def __call__(self, *args, **cond):
        return super().__call__(*args, **cond)


def test_a_denoiser_without_a_gradient_is_no_reason_to_end():
    denoiser = _Opaque(RING, SCHEDULES[0])
    pilot, start = followed(denoiser)
    assert descend(denoiser, pilot, start, SCALE, fitted=FITTED, judges=JUDGES, cond={}).error <= start.error
