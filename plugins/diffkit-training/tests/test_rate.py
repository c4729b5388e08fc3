from itertools import pairwise
from math import sqrt

import pytest
from diffkit_training import SGD, AdamW
from diffkit_training.rate import Decay

DECAYS = Decay.__args__


def test_the_rate_rises_to_its_peak_and_falls_to_zero():
    optimizer = AdamW(lr=2.0, warmup=4)
    rates = [optimizer.rate(step, 24) for step in range(25)]
    assert rates[:5] == [0.5, 1.0, 1.5, 2.0, 2.0]
    assert all(a > b for a, b in pairwise(rates[4:]))
    assert rates[14] == pytest.approx(1.0)
    assert rates[24] == pytest.approx(0.0)


@pytest.mark.parametrize("decay", DECAYS)
def test_the_rate_is_never_above_its_peak_or_negative_however_short_the_run(decay):
    for hold, cooldown in ((0, 0), (3, 0), (0, 4), (3, 20)):
        optimizer = SGD(lr=1.0, warmup=10, decay=decay, hold=hold, cooldown=cooldown)
        assert all(0 <= optimizer.rate(step, steps) <= 1 for steps in (1, 5, 10, 11, 40) for step in range(steps + 5))


@pytest.mark.parametrize("decay", DECAYS)
def test_the_rate_does_not_jump(decay):
    for hold, cooldown in ((0, 0), (1000, 0), (1000, 3000)):
        optimizer = AdamW(lr=1.0, warmup=1000, decay=decay, hold=hold, cooldown=cooldown)
        rates = [optimizer.rate(step, 10_000) for step in range(10_100)]
        assert max(abs(a - b) for a, b in pairwise(rates)) < 0.03  # the first step of a root's fall


@pytest.mark.parametrize("decay", DECAYS)
def test_it_holds_its_peak_for_as_long_as_asked(decay):
    optimizer = AdamW(lr=1.0, warmup=10, decay=decay, hold=30)
    rates = [optimizer.rate(step, 1000) for step in range(1000)]
    assert rates[9:41] == [1.0] * 32
    assert decay in ("wsd", "constant") or rates[42] < 1


def test_decay_can_be_a_line_or_nothing():
    assert AdamW(lr=1.0, warmup=0, decay="linear").rate(25, 100) == pytest.approx(0.75)
    assert AdamW(lr=1.0, warmup=0, decay="constant").rate(99, 100) == 1.0


def test_the_inverse_root_halves_at_four_times_the_reference_and_knows_no_end():
    optimizer = AdamW(lr=1.0, warmup=100, decay="inverse_sqrt", hold=300)
    assert optimizer.rate(400, 10) == optimizer.rate(400, 10**6) == 1.0
    assert optimizer.rate(1600, 10) == pytest.approx(0.5)
    assert optimizer.rate(40_000, 10) == pytest.approx(0.1)


def test_warm_up_stable_decay_falls_by_a_root_over_its_last_steps():
    optimizer = AdamW(lr=1.0, warmup=10, decay="wsd", cooldown=100)
    assert {optimizer.rate(step, 1000) for step in range(9, 901)} == {1.0}
    assert optimizer.rate(925, 1000) == pytest.approx(1 - sqrt(0.25))
    assert optimizer.rate(1000, 1000) == 0.0
    fifth = AdamW(lr=1.0, warmup=10, decay="wsd")
    assert fifth.rate(800, 1000) == 1.0
    assert fifth.rate(850, 1000) == pytest.approx(0.5)


def test_a_run_that_goes_further_goes_on_as_if_it_had_been_meant_to():
    """With a rate that knows no end, or before its cooldown, what was done so far is the same for a longer run."""
    for decay in ("wsd", "inverse_sqrt", "constant"):
        optimizer = AdamW(warmup=10, decay=decay)
        assert [optimizer.rate(step, 100) for step in range(80)] == [optimizer.rate(step, 1000) for step in range(80)]
        assert all(optimizer.rate(step, 1000) > 0 for step in range(100, 1000))


def test_a_cooldown_goes_with_every_decay():
    for decay in DECAYS:
        plain, cooled = (AdamW(lr=1.0, warmup=0, decay=decay, cooldown=c) for c in (1, 50))
        assert cooled.rate(100, 200) == plain.rate(100, 200) > 0
        assert cooled.rate(175, 200) == pytest.approx(plain.rate(175, 200) * (1 - sqrt(0.5)))
