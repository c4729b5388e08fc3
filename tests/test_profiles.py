"""Power-function averages: their profiles, and any of them from a few."""

from math import sqrt

import pytest
import torch

from diffkit import DiffkitError
from diffkit.profiles import LONGEST, Profile, combination, exponent, inner, newest_weight

LENGTHS = (0.01, 0.05, 0.1, 0.2, 0.28)


def integral(function, end, points=200_000):
    """Return the integral from 0 to ``end`` by the midpoint rule."""
    at = (torch.arange(points, dtype=torch.float64) + 0.5) * (end / points)
    return function(at).sum().item() * end / points


def density(profile):
    gamma = exponent(profile.length)
    return lambda at: (gamma + 1) / profile.step * (at / profile.step) ** gamma * (at < profile.step)


@pytest.mark.parametrize("length", LENGTHS)
def test_the_standard_deviation_of_a_profile_is_its_relative_length(length):
    p = density(Profile(length, 1))
    mean = integral(lambda at: at * p(at), 1)
    assert sqrt(integral(lambda at: (at - mean) ** 2 * p(at), 1)) == pytest.approx(length, rel=1e-5)


def test_lengths_are_those_of_the_paper():
    assert exponent(0.05) == pytest.approx(16.97, abs=5e-3)
    assert exponent(0.1) == pytest.approx(6.94, abs=5e-3)
    assert exponent(LONGEST * (1 - 1e-9)) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("length", [0.0, -0.1, 0.2887, 1.0, float("nan")])
def test_what_is_no_relative_length_is_refused(length):
    with pytest.raises(DiffkitError, match=r"is not the relative length of an average; give one above 0 and below"):
        exponent(length)


def test_the_first_step_is_taken_over_whole_and_later_ones_by_the_formula():
    assert newest_weight(6.94, 1) == 1
    for step in (2, 10, 1000):
        assert newest_weight(6.94, step) == pytest.approx(1 - (1 - 1 / step) ** 7.94, rel=1e-9)


def test_inner_products_are_the_integrals():
    profiles = [Profile(0.05, 100), Profile(0.05, 70), Profile(0.1, 100), Profile(0.2, 30)]
    found = inner(profiles, profiles)
    for i, p in enumerate(profiles):
        for j, q in enumerate(profiles):
            expected = integral(lambda at, p=p, q=q: density(p)(at) * density(q)(at), min(p.step, q.step))
            assert found[i, j].item() == pytest.approx(expected, rel=1e-6)


def snapshots(every, until, lengths=(0.05, 0.1)):
    return [Profile(length, step) for length in lengths for step in range(every, until + 1, every)]


@pytest.mark.parametrize("every", [1000, 50, 10])
def test_a_profile_that_is_there_is_found_exactly(every):
    profiles = snapshots(every, 2000)
    for length in (0.05, 0.1):
        weights, distance = combination(profiles, Profile(length, 2000))
        expected = torch.tensor([float(p == Profile(length, 2000)) for p in profiles], dtype=torch.float64)
        torch.testing.assert_close(weights, expected, rtol=0, atol=1e-9)
        assert distance < 1e-6


@pytest.mark.parametrize("length", [0.03, 0.07, 0.15, 0.2])
def test_more_snapshots_bring_another_profile_nearer(length):
    far, near, nearest = (combination(snapshots(every, 3200), Profile(length, 3200))[1] for every in (800, 200, 50))
    assert nearest < near / 4 < far / 16


def test_weights_add_up_to_one_however_far_the_profile_is():
    for wanted in (Profile(0.01, 1000), Profile(0.25, 1000)):
        weights, distance = combination(snapshots(500, 1000), wanted)
        assert weights.sum().item() == pytest.approx(1, abs=1e-12)
        assert distance > 0.3


def test_the_distance_is_that_of_the_profiles():
    profiles, wanted = snapshots(250, 1000), Profile(0.15, 1000)
    weights, distance = combination(profiles, wanted)

    def difference(at):
        return sum(w * density(p)(at) for w, p in zip(weights.tolist(), profiles, strict=True)) - density(wanted)(at)

    squared = integral(lambda at: difference(at) ** 2, 1000) / integral(lambda at: density(wanted)(at) ** 2, 1000)
    assert distance == pytest.approx(sqrt(squared), rel=1e-3)


def test_a_walk_averaged_afterwards_is_near_to_the_one_that_was_followed():
    """Two averages are followed and kept every 50 steps; a third is followed beside them, to compare with."""
    torch.manual_seed(0)
    steps, wanted, lengths = 2000, Profile(0.15, 2000), (0.05, 0.1, 0.15)
    theta = torch.zeros(500, dtype=torch.float64)
    followed, kept = {length: torch.zeros_like(theta) for length in lengths}, {}
    for step in range(1, steps + 1):
        theta += torch.randn_like(theta)
        for length, average in followed.items():
            average.lerp_(theta, newest_weight(exponent(length), step))
            if step % 50 == 0:
                kept[Profile(length, step)] = average.clone()
    profiles = [profile for profile in kept if profile.length != wanted.length]
    weights, _ = combination(profiles, wanted)
    found = sum(w * kept[p] for w, p in zip(weights.tolist(), profiles, strict=True))
    error = (found - followed[0.15]).norm() / (followed[0.1] - followed[0.15]).norm()
    assert error < 0.01
