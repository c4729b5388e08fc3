"""check_sampler accepts a right sampler and says what is wrong with a wrong one."""

import pytest
import torch

from diffkit import StepSampler
from diffkit.sampler import uniform_times
from diffkit.testing import check_sampler


class Right(StepSampler):
    """First order: x_0 and ε are held over the step."""

    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + then.sigma * (x - now.alpha * x0) / now.sigma


class WrongScale(StepSampler):
    """Forgets α, as a method written for variance-exploding schedules alone would."""

    def step(self, x, x0, now, then, **_):
        return x0 + then.sigma * (x - x0) / now.sigma


class NotANumber(StepSampler):
    """Divides by the σ it goes to, which is 0 in the end."""

    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + (x - now.alpha * x0) / now.sigma * (then.sigma**2) / torch.tensor(then.sigma)


class OneStreamForAll(StepSampler):
    def step(self, x, x0, now, then, **_):
        z = torch.randn(x.shape, generator=torch.Generator().manual_seed(0), dtype=x.dtype)
        return then.alpha * x0 + then.sigma * z


class Unseeded(StepSampler):
    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + then.sigma * torch.randn_like(x)


class InPlace(Right):
    def __call__(self, denoiser, noise, **kwargs):
        x = super().__call__(denoiser, noise, **kwargs)
        noise.zero_()
        return x


class OwnGrid(Right):
    def __call__(self, denoiser, noise, *, grid=None, **kwargs):
        return super().__call__(denoiser, noise, grid=uniform_times, **kwargs)


class TooLittleFreshNoise(StepSampler):
    def step(self, x, x0, now, then, *, draw, **_):
        return then.alpha * x0 + 0.6 * then.sigma * draw()


class ByTheBatch(Right):
    """Looks at the whole batch, as the control of a step's length does."""

    def step(self, x, x0, now, then, **_):
        return super().step(x, x0, now, then) + 1e-3 * then.sigma * x0.mean()


class StatesIt(ByTheBatch):
    tolerance = 0.01


class StatesTooLittle(ByTheBatch):
    tolerance = 1e-6


class StatesTooMuch(ByTheBatch):
    tolerance = 1.0


class OwnLevels(StatesIt):
    """Walks from end to end of the grid in other levels than the grid's."""

    inner = 40

    def __call__(self, denoiser, noise, *, grid=None, **kwargs):
        times = (grid or uniform_times)(denoiser.schedule, self.steps)
        finer = torch.linspace(times[0], times[-1], self.inner, dtype=torch.float64)
        finer = torch.cat((times[:1], finer[1:-1], times[-1:])) if len(times) > 1 else times
        return super().__call__(denoiser, noise, grid=lambda *_: finer, **kwargs)


class OwnEnds(OwnLevels):
    def __call__(self, denoiser, noise, *, grid=None, **kwargs):
        return super().__call__(denoiser, noise, grid=uniform_times, **kwargs)


def test_a_right_sampler_passes_as_a_class_and_as_an_instance():
    check_sampler(Right)
    check_sampler(Right(steps=7))


def test_a_sampler_that_states_a_tolerance_may_choose_its_levels_and_look_at_the_batch():
    check_sampler(OwnLevels)


@pytest.mark.parametrize(
    ("sampler", "sentence"),
    [
        (WrongScale, "away from the data"),
        (NotANumber, "NaN"),
        (OneStreamForAll, "batch of one"),
        (Unseeded, "the second time"),
        (InPlace, "changes the noise"),
        (OwnGrid, "never evaluates"),
        (OwnEnds, "never evaluates"),
        (ByTheBatch, "batch of one"),
        (StatesTooLittle, "batch of one"),
        (StatesTooMuch, "tolerance of 1"),
        (TooLittleFreshNoise, "away from the data"),
    ],
)
def test_a_wrong_sampler_fails_with_a_sentence(sampler, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_sampler(sampler)
