"""The loop that solvers share: what it prepares, and when it does so again."""

from itertools import pairwise

import pytest
import torch

from diffkit import DiffkitError, StepSampler, levels, scaled, summed
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES


class Counted(StepSampler):
    """Euler's method, which counts how often it prepares."""

    prepared = 0

    def __init__(self, steps=4, strength=1.0, **more):
        super().__init__(steps)
        self.strength = strength
        vars(self).update(more)

    def prepare(self, path):
        type(self).prepared += 1
        kept = ((now, then, then.sigma / now.sigma) for now, then in pairwise(path))
        return ((share, self.strength * (then.alpha - share * now.alpha)) for now, then, share in kept)

    def step(self, x, x0, now, then, *, plan, **_):
        return summed(plan, (x, x0))


@pytest.fixture
def sampler(monkeypatch):
    monkeypatch.setattr(Counted, "prepared", 0)
    return Counted()


def drawn(sampler, schedule=SCHEDULES[0], dtype=torch.float64):
    noise = torch.randn(3, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return sampler(MixtureDenoiser(GaussianMixture.soft3(), schedule), noise.to(dtype))


def test_the_next_batch_on_the_same_levels_needs_no_preparation(sampler):
    first = drawn(sampler)
    assert torch.equal(drawn(sampler), first)
    assert sampler.prepared == 1


def test_other_levels_are_prepared_anew_though_the_schedule_is_the_same_object(sampler):
    class Learned:
        """A schedule whose parameter training changes."""

        shift = torch.zeros(())

        def lam(self, t):
            return 4 - 8 * t + self.shift

        def alpha(self, t):
            return torch.sigmoid(2 * self.lam(t)).sqrt()

        def sigma(self, t):
            return torch.sigmoid(-2 * self.lam(t)).sqrt()

    schedule = Learned()
    drawn(sampler, schedule)
    schedule.shift += 0.5
    assert torch.equal(drawn(sampler, schedule), drawn(Counted(), schedule))
    assert sampler.prepared == 3


@pytest.mark.parametrize("change", [{"steps": 5}, {"strength": 0.9}, {"dtype": torch.float32}], ids=str)
def test_what_a_sampler_or_its_levels_are_made_of_is_prepared_anew_where_it_changes(sampler, change):
    drawn(sampler)
    dtype = change.pop("dtype", torch.float64)
    vars(sampler).update(change)
    assert torch.equal(drawn(sampler, dtype=dtype), drawn(Counted(**change), dtype=dtype))


def test_an_option_within_a_list_that_changes_is_noticed():
    class Listed(Counted):
        def prepare(self, path):
            return [(weight, 1 - weight) for weight in self.weights]

    sampler = Listed(weights=[0.5, 0.5, 0.5, 0.0])
    before = drawn(sampler)
    sampler.weights[0] = 0.6
    assert not torch.equal(drawn(sampler), before)


def test_a_sampler_that_holds_what_may_change_unnoticed_prepares_every_time(sampler):
    sampler.base = StepSampler()
    drawn(sampler), drawn(sampler)
    assert sampler.prepared == 2


def test_what_inference_mode_prepared_serves_where_gradients_are_wanted(sampler):
    with torch.inference_mode():
        drawn(sampler)
    at = levels(SCHEDULES[0], torch.tensor([1.0, 0.75, 0.5, 0.25]), like=torch.zeros(0).double())[0]
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    (x * at.tensor).backward()
    assert x.grad == at.lam


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_a_sum_is_what_its_weights_say_and_leaves_its_terms_as_they_were(dtype):
    terms = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)).to(dtype).unbind()
    before = torch.stack(terms)
    exact = 0.3 * before[0].double() - 2 * before[2].double()
    found = summed((0.3, 0.0, -2.0), (*terms, terms[0]))
    assert found.dtype == dtype
    assert torch.allclose(found.double(), exact, rtol=4 * torch.finfo(dtype).eps, atol=4 * torch.finfo(dtype).eps)
    assert torch.equal(torch.stack(terms), before)
    assert torch.equal(scaled(terms[0], 0.25), terms[0] * 0.25)


class Kind:
    """Noise that is one or minus one, whose sums are not."""

    stable = False

    def __call__(self, shape, generator, device="cpu"):
        return torch.randint(0, 2, shape, generator=generator).float() * 2 - 1


class Even(Kind):
    """Noise that is the same everywhere."""

    stable = True

    def __call__(self, shape, generator, device="cpu"):
        return torch.ones(shape)


def test_noise_on_the_way_is_of_the_models_kind_without_streams_too():
    class Noisy(StepSampler):
        def step(self, x, x0, now, then, *, draw, **_):
            return draw()

    class Model:
        schedule = SCHEDULES[0]

        def __init__(self, noise):
            self.noise = noise

        def null(self, cond):
            return cond

        def __call__(self, x, at, **cond):
            return x

    x = torch.zeros(3, 2)
    with pytest.raises(DiffkitError, match="adds noise on the way, which is wrong under Kind"):
        Noisy(2)(Model(Kind()), x)
    assert Noisy(2)(Model(Even()), x).eq(1).all()
    assert Noisy(2)(Model(None), x).unique().numel() == 6
