"""The time distributions against their distribution functions, and the noise."""

import math

import pytest
import torch
from diffkit_objectives import (
    LaplaceTimes,
    LogitNormalTimes,
    LogNormalTimes,
    ModeTimes,
    NormalNoise,
    StratifiedTimes,
    UniformLamTimes,
    UniformTimes,
)

from diffkit import DataSpec, DiffkitError, build
from diffkit.testing.sampler import SCHEDULES

N = 20_000
SCHEDULE = SCHEDULES[1]
INVERTED = [UniformTimes(), UniformLamTimes(), ModeTimes(), LaplaceTimes(), LogitNormalTimes(), LogNormalTimes()]
ALL = [*INVERTED, StratifiedTimes(), StratifiedTimes(LogNormalTimes())]
named = {"ids": lambda value: type(value).__name__}


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(x, mean=0.0, std=1.0):
    return torch.special.ndtr((x - mean) / std)


def distance(x, distribution):
    """Return the Kolmogorov-Smirnov distance between draws and a distribution function."""
    x = x.sort().values
    expected = distribution(x)
    steps = torch.arange(len(x) + 1, dtype=torch.float64) / len(x)
    return torch.maximum((expected - steps[:-1]).abs(), (expected - steps[1:]).abs()).max().item()


LIMIT = 1.95 / N**0.5  # exceeded once in a thousand where the distribution is right


@pytest.mark.parametrize("times", ALL, **named)
def test_times_are_float64_within_the_unit_interval_and_follow_the_generator(times):
    for schedule in SCHEDULES:
        t = times(N, schedule, seeded())
        assert (t.shape, t.dtype, t.device.type) == ((N,), torch.float64, "cpu")
        assert t.min() >= 0
        assert t.max() <= 1
        assert torch.equal(t, times(N, schedule, seeded()))
        assert not torch.equal(t, times(N, schedule, seeded(1)))
        assert len(times(3, schedule)) == 3


@pytest.mark.parametrize(
    "name", ["uniform", "uniform_lam", "stratified", "mode", "laplace", "logit_normal", "lognormal"]
)
def test_every_distribution_is_installed_by_name(name):
    assert len(build("times", name)(5, SCHEDULE)) == 5


@pytest.mark.parametrize("times", [UniformTimes(), StratifiedTimes()], **named)
def test_uniform_times_are_uniform(times):
    t = torch.cat([times(100, SCHEDULE, seeded(i)) for i in range(N // 100)])
    assert distance(t, lambda t: t) < LIMIT


def test_stratified_times_have_one_in_each_nth_of_the_interval():
    for n in (1, 7, 128):
        t = StratifiedTimes()(n, SCHEDULE, seeded())
        assert torch.equal((t * n).floor().sort().values, torch.arange(n, dtype=torch.float64))


def test_a_batch_of_stratified_times_has_a_steadier_mean():
    spread = [
        torch.stack([times(32, SCHEDULE, seeded(i)).mean() for i in range(200)]).std()
        for times in (UniformTimes(), StratifiedTimes())
    ]
    assert spread[1] < spread[0] / 4


@pytest.mark.parametrize("options", [{}, {"mean": 1.0, "std": 0.5}], ids=str)
def test_logit_normal_times_have_a_normal_logit(options):
    t = LogitNormalTimes(**options)(N, SCHEDULE, seeded())
    assert distance(t.logit(), lambda x: normal(x, **options)) < LIMIT


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda s: s.name)
@pytest.mark.parametrize("options", [{}, {"mean": 0.5, "std": 0.8}], ids=str)
def test_lognormal_times_have_a_normal_log_of_noise_to_signal(options, schedule):
    t = LogNormalTimes(**options)(N, schedule, seeded())
    assert distance(-schedule.lam(t), lambda x: normal(x, **{"mean": -1.2, "std": 1.2, **options})) < LIMIT


def test_lognormal_times_follow_the_scale_of_the_data():
    def levels(std):
        times = LogNormalTimes(spec=DataSpec(channels=1, shape=(1,), std=std))
        return SCHEDULE.lam(times(N, SCHEDULE, seeded()))

    torch.testing.assert_close(levels(0.5) - levels(1.0), torch.full((N,), math.log(2), dtype=torch.float64))


def test_lognormal_times_beyond_the_schedule_are_at_its_ends():
    t = LogNormalTimes(mean=0.0, std=100.0)(N, SCHEDULE, seeded())
    expected = normal(torch.tensor(-8.0), std=100.0).item()  # λ of the schedule ends at ±8
    for end in (0, 1):
        assert t.eq(end).double().mean().item() == pytest.approx(expected, abs=0.015)


@pytest.mark.parametrize("make", [LogitNormalTimes, LogNormalTimes])
@pytest.mark.parametrize("std", [0.0, -1.0, float("nan")])
def test_a_standard_deviation_is_positive(make, std):
    with pytest.raises(DiffkitError, match="std"):
        make(std=std)


def test_normal_noise_is_standard_normal_and_follows_the_generator():
    for noise in (NormalNoise(), build("noise", "normal")):
        z = noise((N // 8, 2, 4), seeded())
        assert (z.shape, z.dtype) == ((N // 8, 2, 4), torch.float32)
        assert distance(z.flatten().double(), normal) < LIMIT
        assert torch.equal(z, noise((N // 8, 2, 4), seeded()))
