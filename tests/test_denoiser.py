"""The denoiser: network + schedule + prediction = an estimate of the clean data."""

import math

import pytest
import torch
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError, Level, build, catalog, levels

SPEC = DataSpec(channels=2, shape=(3,), labels=("a", "b"), std=0.6)
PREDICTIONS = {
    "eps": lambda a, s: (1 / a, -s / a, 1.0),
    "x0": lambda a, s: (0.0, 1.0, 1.0),
    "v": lambda a, s: (a, -s, 1.0),
    "flow": lambda a, s: (1 / (a + s), -s / (a + s), 1.0),
}
"""c_skip, c_out, c_in by hand: x0 = (x - σε)/α, x0, αx - σv (α²+σ²=1), and x/(α+σ) - σu/(α+σ) for u = ε - x0."""


class Given:
    """A prediction given by its coefficients."""

    def __init__(self, function):
        self.function = function

    def coefficients(self, alpha, sigma):
        c_skip, c_out, c_in = self.function(alpha, sigma)
        return tuple(c + 0 * alpha for c in (c_skip, c_out, c_in))


class VP:
    """α = cos(πt/2), σ = sin(πt/2), a hair away from the ends: α² + σ² = 1."""

    def _angle(self, t):
        return (1e-3 + t * (1 - 2e-3)) * math.pi / 2

    def alpha(self, t):
        return self._angle(t).cos()

    def sigma(self, t):
        return self._angle(t).sin()

    def lam(self, t):
        return -self._angle(t).tan().log()

    def time(self, lam):
        return ((-lam).exp().atan() * 2 / math.pi - 1e-3) / (1 - 2e-3)


class Answer(nn.Module):
    """A network that gives a fixed answer and remembers what it was asked."""

    def __init__(self, answer):
        super().__init__()
        self.answer, self.asked = answer, []

    def forward(self, x, lam, **cond):
        self.asked.append((x, lam, cond))
        return self.answer


@pytest.fixture
def clean():
    generator = torch.Generator().manual_seed(0)
    x0 = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64) * 0.6
    noise = torch.randn(5, 2, 3, generator=generator, dtype=torch.float64)
    t = torch.linspace(0.1, 0.9, 5, dtype=torch.float64)
    alpha, sigma = (f(t)[:, None, None] for f in (VP().alpha, VP().sigma))
    targets = {"eps": noise, "x0": x0, "v": alpha * noise - sigma * x0, "flow": noise - x0}
    return x0, noise, t, alpha * x0 + sigma * noise, targets


@pytest.mark.parametrize("name", PREDICTIONS)
class TestWhateverTheNetworkPredicts:
    def test_the_exact_answer_gives_back_the_clean_data(self, clean, name):
        x0, _, t, x, targets = clean
        denoiser = Denoiser(Answer(targets[name]), VP(), Given(PREDICTIONS[name]))
        torch.testing.assert_close(denoiser(x, t), x0, rtol=1e-10, atol=1e-10)

    def test_the_exact_answer_has_no_loss_and_a_wrong_one_its_square(self, clean, name):
        x0, noise, t, _, targets = clean
        prediction = Given(PREDICTIONS[name])
        exact = Denoiser(Answer(targets[name]), VP(), prediction)
        assert exact.loss(x0, t=t, noise=noise).item() < 1e-20
        off = Denoiser(Answer(targets[name] + 0.5), VP(), prediction)
        assert off.loss(x0, t=t, noise=noise).item() == pytest.approx(0.25, rel=1e-9)

    def test_a_weighting_weighs_the_error_of_the_clean_data(self, clean, name):
        """The same weighting means the same loss for every prediction: w(λ) times the squared error of x0."""
        x0, noise, t, x, targets = clean
        denoiser = Denoiser(
            Answer(targets[name] + 0.1), VP(), Given(PREDICTIONS[name]), weighting=lambda lam: (2 * lam).exp() + 1
        )
        error = (denoiser(x, t) - x0).square().flatten(1).mean(1)
        weight = (2 * VP().lam(t)).exp() + 1
        torch.testing.assert_close(denoiser.losses(x0, t=t, noise=noise), weight * error, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("name", [name for name in PREDICTIONS if name in catalog.names("prediction")])
def test_an_installed_prediction_means_what_its_name_says(clean, name):
    x0, _, t, x, targets = clean
    denoiser = Denoiser(Answer(targets[name]), VP(), build("prediction", name, spec=SPEC), spec=SPEC)
    torch.testing.assert_close(denoiser(x, t), x0, rtol=1e-8, atol=1e-8)


class TestWhatTheNetworkIsTold:
    def test_is_the_scaled_input_lambda_and_the_conditions(self, clean):
        _, _, t, x, _ = clean
        net = Answer(torch.zeros_like(x))
        label = torch.arange(5)
        Denoiser(net, VP(), Given(lambda a, s: (0.0, 1.0, 2.0)))(x, t, label=label)
        (asked, lam, cond) = net.asked[0]
        torch.testing.assert_close(asked, 2 * x)
        torch.testing.assert_close(lam, VP().lam(t))
        assert cond["label"] is label

    def test_is_never_the_time_so_that_another_schedule_asks_the_same(self):
        x, net = torch.zeros(1, 2, 3), Answer(torch.zeros(1, 2, 3))
        denoiser = Denoiser(net, VP(), "clean")
        denoiser.schedule = build("schedule", "root")
        level = levels(VP(), torch.tensor([0.5]), like=x)[0]
        denoiser(x, level)
        denoiser(x, denoiser.schedule.time(torch.tensor(level.lam, dtype=torch.float64)).item())
        torch.testing.assert_close(net.asked[0][1], net.asked[1][1])


class TestNoiseLevels:
    @pytest.mark.parametrize("how", ["level", "float", "tensor", "0-d tensor"])
    def test_may_be_given_in_any_form(self, clean, how):
        x0, _, _, _, _ = clean
        denoiser = Denoiser(Answer(torch.ones_like(x0)), VP(), Given(PREDICTIONS["v"]))
        t = torch.full((5,), 0.25, dtype=torch.float64)
        at = {"level": levels(VP(), t[:1], like=x0)[0], "float": 0.25, "tensor": t, "0-d tensor": t[0]}[how]
        torch.testing.assert_close(denoiser(x0, at), denoiser(x0, t), rtol=1e-12, atol=1e-12)

    def test_end_with_the_clean_one(self):
        path = levels(VP(), torch.tensor([0.9, 0.3]), like=torch.zeros(1))
        assert len(path) == 3
        assert (path[-1].alpha, path[-1].sigma, path[-1].lam) == (1.0, 0.0, math.inf)
        assert path[0].ratio == pytest.approx(math.exp(-path[0].lam))
        assert isinstance(path[0], Level)

    def test_live_where_the_sample_lives_in_its_dtype(self):
        path = levels(VP(), torch.tensor([0.9]), like=torch.zeros(1, dtype=torch.bfloat16))
        assert path[0].tensor.dtype == torch.bfloat16
        assert isinstance(path[0].alpha, float)


class TestTraining:
    def test_draws_times_and_noise_where_none_are_given(self, clean):
        x0 = clean[0]
        net = Answer(torch.zeros_like(x0))
        Denoiser(net, VP(), "clean").loss(x0)
        assert len(set(net.asked[0][1].tolist())) == len(x0)

    def test_asks_the_times_and_the_noise_it_was_given(self):
        asked = []

        def times(n, schedule, generator=None):
            asked.append((n, schedule))
            return torch.full((n,), 0.5, dtype=torch.float64)

        def noise(shape, generator=None, device="cpu"):
            return torch.ones(shape)

        schedule = VP()
        denoiser = Denoiser(nn.Identity(), schedule, "clean", times=times, noise=noise)
        assert denoiser.draw_times(7).tolist() == [0.5] * 7
        assert asked == [(7, schedule)]
        drawn = denoiser.draw_noise(torch.zeros(2, 3, dtype=torch.float64))
        assert (drawn == 1).all() and drawn.dtype == torch.float64

    def test_times_are_uniform_unless_said_otherwise(self):
        t = Denoiser(nn.Identity(), VP(), "clean").draw_times(20_000, torch.Generator().manual_seed(0))
        ordered, uniform = t.sort().values, (torch.arange(20_000) + 0.5) / 20_000
        assert (ordered - uniform).abs().max() < 1.95 / 20_000**0.5, "Kolmogorov's distance, at one in a thousand"

    def test_gradients_reach_the_network_and_nothing_else_needs_them(self):
        net = build("net", "dense", spec=SPEC)
        Denoiser(net, "root", "clean").loss(torch.randn(4, 2, 3), label=torch.tensor([0, 1, 2, 0])).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())


class TestNames:
    def test_of_installed_components_do_instead_of_objects(self):
        denoiser = Denoiser(build("net", "dense", spec=SPEC), "root", "clean")
        assert type(denoiser.schedule).__name__ == "Root"
        assert denoiser.prediction.std == SPEC.std, "the spec comes from the network"

    def test_that_are_not_installed_are_refused(self):
        with pytest.raises(DiffkitError, match=r"schedule 'rot' is not installed \(did you mean 'root'\?\)"):
            Denoiser(nn.Identity(), "rot", "clean")


class TestNullLabel:
    def test_is_the_number_of_labels_and_other_conditions_stay(self):
        denoiser = Denoiser(nn.Identity(), VP(), "clean", spec=SPEC)
        null = denoiser.null({"label": torch.tensor([0, 1]), "text": torch.ones(2)})
        assert null["label"].tolist() == [2, 2]
        assert null["text"].tolist() == [1, 1]


def test_weights_are_those_of_the_network_alone():
    net = build("net", "dense", spec=SPEC)
    denoiser = Denoiser(net, "root", "clean")
    assert {f"net.{name}" for name in net.state_dict()} == set(denoiser.state_dict())


def test_no_label_means_any_where_nothing_is_known_of_the_data():
    class Plain(nn.Module):
        def forward(self, x, lam, label=None):
            return x

    denoiser = Denoiser(Plain(), "root", "clean")
    with pytest.raises(DiffkitError, match=r"no label is known to mean any; give it Denoiser\(\.\.\., spec="):
        denoiser.null({"label": torch.tensor([1])})
    assert denoiser.null({}) == {}
