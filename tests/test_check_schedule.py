"""check_schedule accepts a right schedule and says what is wrong with a wrong one."""

import pytest
import torch

from diffkit.testing import check_schedule


class Right:
    """λ = 6 - 12 t, variance-preserving."""

    def lam(self, t):
        return 6 - 12 * t

    def time(self, lam):
        return ((6 - lam) / 12).clamp(0, 1)

    def alpha(self, t):
        return torch.sigmoid(2 * self.lam(t)).sqrt()

    def sigma(self, t):
        return torch.sigmoid(-2 * self.lam(t)).sqrt()


class NoNoiseAtAll(Right):
    def sigma(self, t):
        return super().sigma(t) * (t > 0)


class Rising(Right):
    def lam(self, t):
        return 12 * t - 6


class Inconsistent(Right):
    def sigma(self, t):
        return super().sigma(t) / 2


class InexactInverse(Right):
    def time(self, lam):
        return (super().time(lam) + 1e-8).clamp(0, 1)


class Unclamped(Right):
    def time(self, lam):
        return (6 - lam) / 12


class SinglePrecision(Right):
    def sigma(self, t):
        return super().sigma(t).float()


class Detached(Right):
    def alpha(self, t):
        return super().alpha(t).detach()


class OnTheHost(Right):
    def lam(self, t):
        return super().lam(t).detach()


def test_a_right_schedule_passes():
    check_schedule(Right())


@pytest.mark.parametrize(
    ("schedule", "sentence"),
    [
        (NoNoiseAtAll, "σ is 0 at t=0"),
        (Rising, "strictly decreasing"),
        (Inconsistent, "differs from log"),
        (InexactInverse, "inverse of lam"),
        (Unclamped, "beyond the ends"),
        (SinglePrecision, "keeps shape and dtype"),
        (Detached, "detached from t"),
        (OnTheHost, "dλ/dt does not exist"),
    ],
)
def test_a_wrong_schedule_fails_with_a_sentence(schedule, sentence):
    with pytest.raises(AssertionError, match=sentence):
        check_schedule(schedule())
