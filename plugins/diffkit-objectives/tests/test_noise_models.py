"""The noise models: moments, spectra, correlations, and which samplers refuse them."""

import pytest
import torch
from diffkit_objectives import (
    NormalNoise,
    OffsetNoise,
    PyramidNoise,
    RademacherNoise,
    SpectrumNoise,
    UniformNoise,
)

from diffkit import Denoiser, DiffkitError, Level, StepSampler, Streams, build
from diffkit.contracts.objective import Noise
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

NAMES = ["normal", "uniform", "rademacher", "offset", "pyramid", "spectrum"]
NOISES = [
    *(NormalNoise(), UniformNoise(), RademacherNoise(), OffsetNoise(), OffsetNoise(2.0)),
    *(PyramidNoise(), PyramidNoise(1.0), SpectrumNoise(), SpectrumNoise("blue")),
]
INDEPENDENT = [NormalNoise(), UniformNoise(), RademacherNoise()]
noises = pytest.mark.parametrize("noise", NOISES, ids=lambda value: type(value).__name__)
SHAPES = [(20_000, 2), (8_000, 1, 5), (4_000, 2, 4, 3), (2_000, 1, 3, 4, 5)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def drawn(noise, shape):
    return noise(shape, seeded()).double()


def correlation(z, a, b):
    """Return the mean over items of the product of positions ``a`` and ``b``."""
    return (z[(slice(None), *a)] * z[(slice(None), *b)]).mean().item()


@noises
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_noise_has_zero_mean_and_unit_variance_at_every_position_of_any_rank(noise, shape):
    z = drawn(noise, shape)
    assert z.shape == shape
    assert z.mean(0).abs().max() < 4.5 / shape[0] ** 0.5
    variance = z.square().mean(0)
    assert (variance - 1).abs().max() < 4.5 * (2 / shape[0]) ** 0.5


@noises
def test_noise_is_float32_and_follows_the_generator(noise):
    z = noise((3, 2, 4, 4), seeded())
    assert isinstance(noise, Noise)
    assert z.dtype == torch.float32
    assert torch.equal(z, noise((3, 2, 4, 4), seeded()))
    assert not torch.equal(z, noise((3, 2, 4, 4), seeded(1)))


@pytest.mark.parametrize("name", NAMES)
def test_every_noise_is_installed_by_name(name):
    assert build("noise", name)((2, 1, 4), seeded()).shape == (2, 1, 4)


def test_fourth_moments_tell_normal_uniform_and_signs_apart():
    fourth = [drawn(noise, (200_000, 1)).pow(4).mean().item() for noise in INDEPENDENT]
    assert fourth == pytest.approx([3, 1.8, 1], rel=0.02)


def test_uniform_noise_ends_at_the_root_of_3_and_signs_are_signs():
    assert drawn(UniformNoise(), (100_000, 1)).abs().max() == pytest.approx(3**0.5, rel=1e-3)
    assert set(drawn(RademacherNoise(), (1000, 1)).flatten().tolist()) == {-1.0, 1.0}


@pytest.mark.parametrize("noise", INDEPENDENT, ids=lambda value: type(value).__name__)
def test_independent_noise_is_uncorrelated(noise):
    z = drawn(noise, (40_000, 2, 3)).flatten(1)
    gaps = z.T @ z / len(z) - torch.eye(6, dtype=torch.float64)
    assert gaps.abs().max() < 4.5 * (2 / len(z)) ** 0.5


@pytest.mark.parametrize("strength", [0.0, 0.1, 1.5])
def test_offset_noise_is_correlated_within_a_channel_alone(strength):
    z = drawn(OffsetNoise(strength), (40_000, 2, 3))
    assert correlation(z, (0, 0), (0, 2)) == pytest.approx(strength**2 / (1 + strength**2), abs=0.025)
    assert correlation(z, (0, 0), (1, 0)) == pytest.approx(0, abs=0.025)


def test_pyramid_noise_is_correlated_by_the_smallest_block_that_holds_both_positions():
    d2 = 0.7**2
    total = 1 + d2 + d2**2 + d2**3  # blocks of 1, 2, 4 and 8 hold five positions
    z = drawn(PyramidNoise(0.7), (40_000, 1, 5))
    for other, shared in ((1, d2 + d2**2 + d2**3), (2, d2**2 + d2**3), (4, d2**3)):
        assert correlation(z, (0, 0), (0, other)) == pytest.approx(shared / total, abs=0.025)


def test_no_discount_and_no_extent_leave_noise_white():
    assert torch.equal(PyramidNoise(0.0)((2, 1, 6), seeded()), drawn_white((2, 1, 6)))
    for color in ("pink", "blue"):
        assert torch.equal(SpectrumNoise(color)((2, 3, 1, 1), seeded()), drawn_white((2, 3, 1, 1)))


def drawn_white(shape):
    return torch.randn(shape, generator=seeded())


@pytest.mark.parametrize("shape", [(2_000, 1, 16), (1_000, 2, 8, 6), (500, 1, 4, 5, 4)], ids=str)
@pytest.mark.parametrize(("color", "slope"), [("pink", -1.0), ("blue", 1.0)])
def test_the_power_of_a_spectrum_is_a_power_of_the_frequency(color, slope, shape):
    axes = tuple(range(2, len(shape)))
    power = torch.fft.fftn(drawn(SpectrumNoise(color), shape), dim=axes, norm="ortho").abs().square().mean((0, 1))
    squares = torch.stack(torch.meshgrid(*(torch.fft.fftfreq(n) for n in shape[2:]), indexing="ij")).square().sum(0)
    frequency = squares.sqrt().double()
    flat = (power / frequency.clamp(min=frequency[frequency > 0].min()) ** slope).flatten()
    assert (flat / flat.mean() - 1).abs().max() < 5 * (2 / (shape[0] * shape[1])) ** 0.5


class Stirred(StepSampler):
    """Ancestral steps: the mean and the variance of q(x' | x, x_0)."""

    def step(self, x, x0, now, then, *, draw, **_):
        if then.sigma == 0:
            return x0
        kept = (then.alpha / then.sigma / (now.alpha / now.sigma)) ** -2
        mean = then.alpha * x0 + then.sigma * kept**0.5 * (x - now.alpha * x0) / now.sigma
        return mean + then.sigma * (1 - kept) ** 0.5 * draw()


class Still(StepSampler):
    def step(self, x, x0, now, then, **_):
        return then.alpha * x0 + then.sigma * (x - now.alpha * x0) / now.sigma


DENOISER = MixtureDenoiser(GaussianMixture.soft3(), SCHEDULES[0])


@noises
def test_what_adds_noise_on_the_way_refuses_noise_whose_sums_are_of_another_law(noise):
    streams = Streams(0, range(3), noise)
    start = streams.draw((2, 1), 0).double()
    assert Still(4)(DENOISER, start, streams=streams).isfinite().all()
    if noise.stable:
        assert Stirred(4)(DENOISER, start, streams=streams).isfinite().all()
        return
    with pytest.raises(
        DiffkitError, match=rf"{type(noise).__name__}.*such as sampler=ddim, or train with noise=normal"
    ):
        Stirred(4)(DENOISER, start, streams=streams)


def test_only_normal_noise_says_that_it_is_standard_normal():
    assert [noise.gaussian for noise in NOISES] == [True] + [False] * 8


def test_a_noise_that_says_nothing_counts_as_normal_and_one_that_denies_it_as_not_stable():
    def silent(shape, generator=None, device="cpu"):
        return torch.zeros(shape)

    assert Streams(0, [0], silent).draw((2,), 1).shape == (1, 2)
    silent.gaussian = False
    with pytest.raises(DiffkitError, match="adds noise on the way"):
        Streams(0, [0], silent).draw((2,), 1)


class Given:
    """The estimate for data N(0, s² I) under noise of covariance ``c``: α s² (α² s² + σ² C)⁻¹ x."""

    def __init__(self, schedule, covariance, std):
        self.schedule, self.covariance, self.std = schedule, covariance, std

    def __call__(self, x, at: Level):
        total = at.alpha**2 * self.std**2 * torch.eye(len(self.covariance)).double() + at.sigma**2 * self.covariance
        return (x.flatten(1) @ torch.linalg.inv(total) * at.alpha * self.std**2).reshape(x.shape)


@pytest.mark.parametrize(
    "noise",
    [OffsetNoise(1.0), PyramidNoise(0.8), SpectrumNoise(), SpectrumNoise("blue")],
    ids=["offset", "pyramid", "pink", "blue"],
)
@pytest.mark.parametrize("sampler", [Still(120), Stirred(120)], ids=lambda value: type(value).__name__)
def test_samplers_stay_exact_under_correlated_noise(noise, sampler):
    """Samples of white data come out white, though all the noise that went in was correlated."""
    n, std, schedule = 2_000, 0.8, SCHEDULES[1]
    z = drawn(noise, (60_000, 1, 4)).flatten(1)
    denoiser = Given(schedule, z.T @ z / len(z), std)

    class Fresh:
        noise = None

        def draw(self, shape, step, like=None):
            return noise((n, *shape), seeded(step)).double()

    x = sampler(denoiser, noise((n, 1, 4), seeded(77)).double(), streams=Fresh()).flatten(1)
    gaps = x.T @ x / n / std**2 - torch.eye(4, dtype=torch.float64)
    assert gaps.abs().max() < 4.5 * (2 / n) ** 0.5 + 0.03


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: OffsetNoise(-0.1), "strength=-0.1"),
        (lambda: OffsetNoise(float("inf")), "strength=inf"),
        (lambda: PyramidNoise(1.5), "discount=1.5"),
        (lambda: build("noise", "spectrum", color="red"), "color=pink or color=blue"),
    ],
)
def test_noise_that_cannot_be_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()


def test_a_model_trains_on_the_noise_it_was_given():
    denoiser = Denoiser(torch.nn.Identity(), SCHEDULES[0], "eps", noise="rademacher")
    assert set(denoiser.draw_noise(torch.zeros(4, 1, 8)).flatten().tolist()) == {-1.0, 1.0}
