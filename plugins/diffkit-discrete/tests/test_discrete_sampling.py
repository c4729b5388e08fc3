"""Samplers of tokens against the distribution that an enumeration of their steps gives."""

from itertools import pairwise, permutations

import pytest
import torch
from diffkit_discrete import AncestralSampler, KeepGrid, RevealSampler, UniformProcess
from diffkit_discrete.draws import categorical

from diffkit import DiffkitError, Streams
from diffkit.testing.sampler import SCHEDULES


def variation(p, q):
    """The total variation distance."""
    return (p - q).abs().sum().item() / 2


def noise(n, *shape, seed=0):
    return torch.randn(n, *(shape or (4,)), generator=torch.Generator().manual_seed(seed))


def drawn(sampler, denoiser, n=10_000):
    streams = Streams(1, range(n))
    return sampler(denoiser, streams.draw((4,), 0), streams=streams)


def uniform_times(schedule, steps):
    return 1 - torch.arange(steps, dtype=torch.float64) / steps


def revealed(masked, denoiser, steps):
    """The distribution of ``RevealSampler``: the mean over all orders."""
    total = torch.zeros(81, dtype=torch.float64)
    for order in permutations(range(4)):
        x, chances = torch.full_like(masked.clean, 3), torch.ones(81, dtype=torch.float64)
        for group in torch.tensor(order).tensor_split(min(steps, 4)):
            p = denoiser(x, 0.5).exp()
            chances = chances * p[torch.arange(81)[:, None], masked.clean[:, group], group].prod(1)
            x[:, group] = masked.clean[:, group]
        total += chances / 24
    return total


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda schedule: schedule.name)
def test_ancestral_sampling_converges_to_the_data_with_order_one(world, schedule):
    denoiser = world.denoiser(schedule)
    errors = [variation(world.output(denoiser, steps), world.data) for steps in (16, 32, 64, 128)]
    ratios = [few / many for few, many in pairwise(errors)]
    assert ratios == pytest.approx([2, 2, 2], abs=0.2)
    assert errors[-1] < 0.005


def test_any_grid_converges_and_the_even_one_is_ahead(world):
    denoiser = world.denoiser()
    even, in_time = (
        [variation(world.output(denoiser, steps, grid), world.data) for steps in (8, 32, 128)]
        for grid in (KeepGrid(), uniform_times)
    )
    assert in_time[-1] < 0.025 < in_time[1]
    assert all(a < b / 2 for a, b in zip(even, in_time, strict=True))


def test_one_token_at_a_time_is_exact(masked):
    assert variation(revealed(masked, masked.denoiser(), 4), masked.data) < 1e-7


def test_two_at_a_time_are_nearer_than_ancestral_sampling_with_as_many_calls(masked):
    denoiser = masked.denoiser()
    two = variation(revealed(masked, denoiser, 2), masked.data)
    assert two < 0.75 * variation(masked.output(denoiser, 2), masked.data)


@pytest.mark.parametrize("steps", [1, 4])
def test_draws_follow_the_enumeration_of_the_steps(world, steps):
    denoiser = world.denoiser()
    expected = world.output(denoiser, steps)
    assert variation(expected, world.data) > 0.1
    assert variation(world.frequencies(drawn(AncestralSampler(steps), denoiser)), expected) < 0.045  # exact draws: 0.03


@pytest.mark.parametrize("steps", [2, 4, 50])
def test_draws_follow_the_enumeration_of_the_orders(masked, steps):
    denoiser = masked.denoiser()
    x = drawn(RevealSampler(steps), denoiser)
    assert denoiser.evaluations == min(steps, 4)
    assert variation(masked.frequencies(x), revealed(masked, denoiser, steps)) < 0.045


@pytest.mark.parametrize("sampler", [AncestralSampler(9), RevealSampler(3)], ids=["ancestral", "reveal"])
def test_a_sample_is_its_own_in_a_batch_of_any_size(masked, sampler):
    denoiser, streams = masked.denoiser(error=1), Streams(5, range(64))
    x = sampler(denoiser, streams.draw((4,), 0), streams=streams)
    alone = Streams(5, [7])
    assert torch.equal(x[7:8], sampler(denoiser, alone.draw((4,), 0), streams=alone))
    assert torch.equal(x, sampler(denoiser, streams.draw((4,), 0), streams=Streams(5, range(64))))
    other = Streams(6, range(64))
    assert not torch.equal(x, sampler(denoiser, streams.draw((4,), 0), streams=other))


@pytest.mark.parametrize("steps", [1, 2, 3, 50])
def test_samples_are_clean_tokens_after_any_number_of_steps(world, steps):
    denoiser = world.denoiser(error=3)
    x = AncestralSampler(steps)(denoiser, noise(500))
    assert x.dtype == torch.int64
    assert x.shape == (500, 4)
    assert 0 <= x.min() <= x.max() < 3
    assert denoiser.evaluations == steps


def test_a_chance_of_zero_is_never_drawn():
    chances = torch.tensor([[0.0, 0.1, 0.0, 0.2, 0.0]]).expand(7, 5)
    extremes = torch.tensor([-torch.inf, -40.0, -5.0, 0.0, 5.0, 40.0, torch.inf])
    assert categorical(chances, extremes).tolist() == [1, 1, 1, 3, 3, 3, 3]


def test_what_cannot_be_sampled_is_refused(world):
    denoiser = world.denoiser()
    with pytest.raises(DiffkitError, match="steps=0"):
        AncestralSampler(0)
    with pytest.raises(DiffkitError, match="steps=0"):
        RevealSampler(0)
    with pytest.raises(DiffkitError, match="do not decrease"):
        AncestralSampler(4)(denoiser, noise(2), grid=lambda schedule, steps: torch.linspace(0.1, 1, steps).double())


def test_no_mask_nothing_to_reveal(masked):
    denoiser = masked.denoiser()
    denoiser.process = UniformProcess(3)
    with pytest.raises(DiffkitError, match="use AncestralSampler"):
        RevealSampler(4)(denoiser, noise(2))


def test_streams_of_other_noise_are_refused(masked):
    class Pink:
        gaussian, stable = False, True

        def __call__(self, shape, generator=None, device="cpu"):
            return torch.randn(shape)

    with pytest.raises(DiffkitError, match="these streams draw Pink"):
        AncestralSampler(4)(masked.denoiser(), noise(1), streams=Streams(0, [0], Pink()))
