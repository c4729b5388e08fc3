"""Times that adapt: their mean loss is that of uniform times, its variance the least there is, and they resume."""

import pytest
import torch
from diffkit_objectives import AdaptiveTimes, StratifiedTimes
from torch import nn

from diffkit import DataSpec, Denoiser, DiffkitError
from diffkit.data.stream import BatchStream
from diffkit.testing.sampler import SCHEDULES
from diffkit.training import Trainer

SCHEDULE = SCHEDULES[1]


def loss(t):
    """A loss that a tenth of all times has most of."""
    return torch.where(t < 0.1, 9.0, 0.1) * (1 + t)


def adapted(**options):
    times, generator = AdaptiveTimes(every=500, **options), torch.Generator().manual_seed(0)
    for _ in range(40):
        t = times(250, SCHEDULE, generator)
        times.observe(t, loss(t) * times.importance(t))
    return times


def test_at_first_times_are_uniform():
    t = AdaptiveTimes()(20_000, SCHEDULE, torch.Generator().manual_seed(0)).sort().values
    assert (t - torch.arange(20_000) / 20_000).abs().max() < 0.02
    assert torch.equal(AdaptiveTimes().importance(t), torch.ones(20_000, dtype=torch.float64))


def test_the_density_is_what_it_says_and_a_share_of_it_uniform():
    times = adapted(parts=10, uniform=0.2)
    t = times(50_000, SCHEDULE, torch.Generator().manual_seed(1))
    assert t.dtype == torch.float64
    found = torch.histc(t, 10, 0, 1) / 5_000
    torch.testing.assert_close(found.double(), times.density, rtol=0.05, atol=0.02)
    expected = torch.stack([loss(torch.linspace(i, i + 1, 101).double()[:-1] / 10).mean() for i in range(10)])
    torch.testing.assert_close(times.density, 0.2 + 0.8 * expected / expected.mean(), rtol=0.1, atol=0.02)
    assert times.importance(t).max() <= 1 / 0.2


def test_the_mean_loss_stays_and_its_variance_falls():
    times, generator = adapted(), torch.Generator().manual_seed(2)
    t, uniform = times(40_000, SCHEDULE, generator), torch.rand(40_000, generator=generator).double()
    found, plain = loss(t) * times.importance(t), loss(uniform)
    exact = loss((torch.arange(10**5).double() + 0.5) / 10**5).mean().item()
    assert found.mean().item() == pytest.approx(exact, rel=0.01)
    assert found.var() < plain.var() / 20


class Points:
    """Normal data, a hundred items."""

    modality, spec = "points", DataSpec(1, (4,))

    def __len__(self):
        return 100

    def __getitem__(self, index):
        return torch.randn(1, 4, generator=torch.Generator().manual_seed(index)), 0


class Adam:
    lr = 0.01

    def create(self, net):
        return torch.optim.Adam(net.parameters(), lr=self.lr)

    def rate(self, step, steps):
        return self.lr


class Scale(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x, lam):
        return self.scale * x


def trainer(**options):
    times = AdaptiveTimes(parts=8, every=24)
    denoiser = Denoiser(Scale(), SCHEDULE, "x0", weighting="snr", times=times, spec=Points.spec)
    return Trainer(denoiser, BatchStream(Points(), 16, 0), Adam(), steps=9, **options)


@pytest.mark.parametrize("options", [{}, {"micro_batch": 5}], ids=["whole", "in parts"])
def test_training_goes_by_them_and_resumes_to_the_bit(options):
    whole, part, rest = trainer(**options), trainer(**options), trainer(**options)
    for _ in whole.run():
        pass
    for step in part.run():
        if step.number == 4:
            break
    rest.restore(part.tensors(), part.numbers())
    for _ in rest.run():
        pass
    assert (whole.times.density != 1).any()
    for name, values in whole.tensors().items():
        for key, value in values.items():
            assert torch.equal(value, rest.tensors()[name][key]), f"{name} {key}"


def test_a_loss_that_is_looked_at_and_not_trained_on_has_no_importance():
    times = adapted()
    denoiser = Denoiser(Scale(), SCHEDULE, "x0", times=times, spec=Points.spec)
    x0, t = torch.ones(5, 1, 4), torch.linspace(0, 1, 5, dtype=torch.float64)
    trained, seen = (one.losses(x0, t=t, noise=x0) for one in (denoiser, Denoiser(Scale(), SCHEDULE, "x0")))
    assert torch.equal(denoiser.eval().losses(x0, t=t, noise=x0), seen)
    torch.testing.assert_close(trained, seen * times.importance(t).float())


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: AdaptiveTimes(parts=0), "parts=0"),
        (lambda: AdaptiveTimes(uniform=0.0), "uniform=0"),
        (lambda: StratifiedTimes("adaptive"), "cannot be stratified"),
    ],
)
def test_what_cannot_adapt_is_refused_in_a_sentence(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()
