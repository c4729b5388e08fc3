"""The exponential Adams method in u, and its calibration to a model."""

import math

import pytest
import torch
from diffkit_samplers import LMS, DPMpp2M, ExpAdams, Heun, KarrasGrid, LogLinearGrid, RationalGrid, UniPC, calibrate
from diffkit_samplers.calibration import cost, samples
from diffkit_samplers.fitting import fit
from diffkit_samplers.pilot import Pilot

from diffkit import DataSpec, DiffkitError, levels, levels_at
from diffkit.testing import GaussianMixture, MixtureDenoiser, check_sampler
from diffkit.testing.sampler import SCHEDULES

MIXTURES = {"soft3": GaussianMixture.soft3(), "ring8": GaussianMixture.ring8()}
EDM = SCHEDULES[2]


def scale_of(mixture):
    return mixture.covariance().diagonal().mean().sqrt().item()


def start(mixture, level, n=64, seed=0):
    random = torch.Generator().manual_seed(seed)
    noise = torch.randn(n, mixture.dim, generator=random, dtype=torch.float64)
    return level.alpha * mixture.sample(n, random) + level.sigma * noise


def between(first, last, steps):
    """Return levels uniform in λ, without the clean one."""
    return levels_at(torch.linspace(first, last, steps + 1, dtype=torch.float64).tolist(), like=torch.zeros(0).double())


@pytest.mark.parametrize("order", [1, 2, 4])
def test_it_keeps_the_contract(order):
    check_sampler(ExpAdams(7, order))


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", MIXTURES)
def test_the_error_falls_with_one_order_more_than_the_estimates_a_step_looks_at(name, order):
    mixture = MIXTURES[name]
    denoiser, scale = MixtureDenoiser(mixture, EDM), scale_of(mixture)
    path = {steps: between(-3, 3, steps) for steps in (60, 120, 240, 1000)}
    x = start(mixture, path[60][0], 32)
    ends = {n: ExpAdams(n, order, scale).integrate(denoiser, x, nodes) for n, nodes in path.items() if n < 1000}
    exact = ExpAdams(1000, 6, scale).integrate(denoiser, x, path[1000])
    coarse, fine = ((60, 120), (120, 240))[order < 3]
    ratio = (ends[coarse] - exact).norm(dim=1).mean() / (ends[fine] - exact).norm(dim=1).mean()
    assert math.log2(ratio) == pytest.approx(order + 1, abs=0.35)


@pytest.mark.parametrize("last", [2.0, math.inf])
def test_two_estimates_on_a_trajectory_of_gaussian_data_give_the_flow_exactly(last):
    """z - m shrinks as √(c² + s²), and the estimate is m + c² (z - m) / (c² + s²)."""
    m, c = 0.3, 0.7
    sampler = ExpAdams(2, 2, scale=c)
    path = between(-2, 0, 2)
    path[-1] = levels_at([last], like=path[0].tensor)[0]

    def on_trajectory(level):
        root = math.sqrt(c**2 + level.ratio**2)
        return level.alpha * (m + 2 * root), m + 2 * c**2 / root

    x, _ = on_trajectory(path[1])
    estimates = [on_trajectory(level)[1] for level in (path[1], path[0])]
    kept, weights, _ = (of[1].tolist() for of in sampler.weights(path))
    reached = kept * x + sum(w * d for w, d in zip(weights, estimates, strict=False))
    assert reached == pytest.approx(on_trajectory(path[2])[0], abs=1e-11)


@pytest.mark.parametrize("name", MIXTURES)
def test_it_keeps_its_lead_up_to_clean_data(name):
    """A step to λ=∞ of order 1, as other multistep methods take, would leave an error of order 1 / steps²."""
    mixture = MIXTURES[name]
    denoiser, scale, grid = MixtureDenoiser(mixture, EDM), scale_of(mixture), RationalGrid(scale_of(mixture) / 2)

    def end(steps, order):
        nodes = levels(EDM, grid(EDM, steps), like=x)
        return ExpAdams(steps, order, scale).integrate(denoiser, x, nodes)

    x = start(mixture, levels(EDM, grid(EDM, 2), like=torch.zeros(0).double())[0])
    exact = end(600, 5)
    coarse, fine = ((end(steps, 4) - exact).norm(dim=1).mean() for steps in (30, 60))
    assert math.log2(coarse / fine) > 3


def test_rounding_errors_of_an_estimate_are_not_amplified_by_steps_that_hardly_differ():
    mixture, steps = MIXTURES["soft3"], 1000

    class Rounded(MixtureDenoiser):
        def __call__(self, x, at, **cond):
            return super().__call__(x, at, **cond) + 1e-6 * torch.randn(x.shape, generator=random, dtype=x.dtype)

    random = torch.Generator().manual_seed(1)
    noise = torch.randn(64, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    sampler = ExpAdams(steps, 6, scale_of(mixture))
    exact, rounded = (sampler(d(mixture, EDM), noise, grid=LogLinearGrid()) for d in (MixtureDenoiser, Rounded))
    assert (exact - rounded).abs().max() < 1e-3


def test_the_scale_is_that_of_the_data():
    assert ExpAdams(spec=DataSpec(1, (8, 8), std=0.3)).scale == 0.3
    assert ExpAdams(scale=2.0, spec=DataSpec(1, (8, 8), std=0.3)).scale == 2.0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"order": 0}, "order"),
        ({"order": 7}, "order"),
        ({"scale": 0.0}, "scale"),
        ({"fitted": [[0.0, 1.0]]}, "fitted"),
        ({"fitted": [[0.0, 0.5, 0.3, 0.2]]}, "fitted"),
    ],
)
def test_options_out_of_range_are_named(options, named):
    with pytest.raises(DiffkitError, match=named):
        ExpAdams(**options)


def anything(dim, modes, scale, sharpness, seed):
    random = torch.Generator().manual_seed(seed)
    means = scale * torch.randn(modes, dim, generator=random, dtype=torch.float64)
    variances = (scale * sharpness) ** 2 * (0.25 + 1.5 * torch.rand(modes, dim, generator=random, dtype=torch.float64))
    return GaussianMixture(0.2 + torch.rand(modes, generator=random, dtype=torch.float64), means, variances)


def beside_others(mixture, steps, n):
    """Return the error of calibration to ``n`` samples on as many others, over the least of other solvers."""
    grids = [KarrasGrid(), RationalGrid(0.5), RationalGrid(1.0), LogLinearGrid()]
    denoiser, scale = MixtureDenoiser(mixture, EDM), scale_of(mixture)
    noise = torch.randn(2, n, mixture.dim, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = calibrate(denoiser, noise[0], steps=steps, scale=scale, pilot_steps=200)
    exact = ExpAdams(400, 4, scale)(denoiser, noise[1], grid=RationalGrid(scale, 0.5))

    def error(sampler, grid):
        return (sampler(denoiser, noise[1], grid=grid) - exact).norm(dim=1).mean()

    others = (DPMpp2M(steps), UniPC(steps), LMS(steps), Heun((steps + 1) // 2))
    return error(found.sampler, found.grid) / min(error(other, grid) for other in others for grid in grids)


@pytest.mark.parametrize("data", [(2, 4, 5.0, 0.2, 8), (4, 8, 0.3, 0.3, 3), (16, 12, 2.0, 0.3, 5)], ids=str)
def test_calibrated_it_errs_half_as_much_as_other_solvers_do_on_the_best_of_their_grids(data):
    assert beside_others(anything(*data), steps=10, n=64) < 0.5


def test_where_data_is_clusters_grids_are_chosen_by_the_few_samples_that_end_in_a_wrong_one():
    """They decide over the error, and those that are held out are too few to show how many they are."""
    ratios = [beside_others(anything(4, 8, 0.46, 0.02, seed), steps=5, n=256) for seed in (1, 3, 8)]
    assert sum(ratios) / len(ratios) < 0.5


def test_the_smaller_samples_are_the_more_calibrate():
    specs = (DataSpec(2, ()), DataSpec(512, ()), DataSpec(1, (8, 8)), DataSpec(3, (64, 64)))
    assert [samples(spec) for spec in specs] == [1024, 128, 64, 32]


def test_calibration_says_what_it_cost_and_finds_the_same_again():
    mixture = MIXTURES["soft3"]
    noise = torch.randn(8, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    denoiser = MixtureDenoiser(mixture, EDM)
    found = calibrate(denoiser, noise, steps=6, scale=0.6, pilot_steps=60)
    assert 60 < denoiser.evaluations <= cost(6, pilot_steps=60)
    assert found.error < 0.05
    again = calibrate(denoiser, noise, steps=6, scale=0.6, pilot_steps=60)
    assert torch.equal(again.grid.values, found.grid.values)


def test_of_large_data_a_part_of_the_values_is_kept_and_calibrates_as_well(monkeypatch):
    mixture = anything(4, 8, 0.3, 0.3, 3)
    denoiser, scale = MixtureDenoiser(mixture, EDM), scale_of(mixture)
    noise, again = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def error():
        found = calibrate(denoiser, noise, steps=8, scale=scale, pilot_steps=100)
        return (found.sampler(denoiser, again, grid=found.grid) - exact).norm(dim=1).mean()

    exact = ExpAdams(400, 4, scale)(denoiser, again, grid=RationalGrid(scale, 0.5))
    whole = error()
    monkeypatch.setattr("diffkit_samplers.pilot.ENOUGH", 128)
    assert Pilot.follow(denoiser, noise, 10, scale, {}).z.shape == (11, 64, 2)
    assert error() < 1.5 * whole


def calibrated(mixture=MIXTURES["soft3"], steps=5):
    noise = torch.randn(32, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return calibrate(MixtureDenoiser(mixture, EDM), noise, steps=steps, scale=scale_of(mixture), pilot_steps=60)


def test_fitted_weights_sample_moved_data_moved():
    """Those of z and of the estimates add up to 1 in every step, as they do in the method's own."""
    rows = calibrated().sampler.fitted
    assert len(rows) == 5
    assert [sum(row[1:]) for row in rows] == pytest.approx([1.0] * 5, abs=1e-9)


@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda one: type(one).__name__)
def test_fitted_weights_end_alike_under_all_schedules(schedule):
    """They are those of x/α, which no schedule changes; the start is x/α at one σ/α, which all of these reach."""
    found = calibrated()
    denoiser = MixtureDenoiser(MIXTURES["soft3"], schedule)
    lams = found.grid.values
    if not schedule.lam(torch.tensor(1.0).double()) <= lams[0] < lams[-1] <= schedule.lam(torch.tensor(0.0).double()):
        pytest.skip("it does not reach as far")
    path = levels(schedule, found.grid(schedule, 5), like=lams)
    z = start(MIXTURES["soft3"], levels_at([lams[0].item()], like=lams)[0], 8) / levels_at(lams[:1], like=lams)[0].alpha
    plain = levels(EDM, found.grid(EDM, 5), like=lams)
    expected = found.sampler.integrate(MixtureDenoiser(MIXTURES["soft3"], EDM), plain[0].alpha * z, plain)
    assert torch.allclose(found.sampler.integrate(denoiser, path[0].alpha * z, path), expected, atol=1e-6)


def test_fitted_weights_are_taken_on_their_own_levels_alone():
    found = calibrated()
    like, own = torch.zeros(0).double(), ExpAdams(5, 4, found.sampler.scale)
    there = levels(EDM, found.grid(EDM, 5), like=like)
    assert found.sampler.prepare(there) != own.prepare(there)
    for path in (levels(EDM, LogLinearGrid()(EDM, 5), like=like), there[1:], there[:-1], there[:-1][::-1]):
        assert found.sampler.prepare(path) == own.prepare(path)


def test_a_fit_leaves_what_the_estimates_cannot_make_up_for_and_nothing_else():
    random = torch.Generator().manual_seed(0)
    points = torch.randn(4, 8, 5, generator=random, dtype=torch.float64)
    change = torch.tensor([0.2, -0.5, 0.4, -0.1], dtype=torch.float64)
    missed = torch.einsum("k,knm->nm", change, points)
    found, left = fit(points, missed, ridge=0.0)
    assert torch.allclose(found, change)
    assert left.max() < 1e-9
    held, left = fit(points, missed, ridge=1e3)
    assert held.abs().max() < 1e-4
    assert torch.allclose(left, missed.norm(dim=1), rtol=1e-3)


def test_one_sample_is_not_enough():
    with pytest.raises(DiffkitError, match="2 or more"):
        calibrate(MixtureDenoiser(MIXTURES["soft3"], EDM), torch.randn(1, 2).double(), steps=5, scale=0.6)


def test_more_steps_than_a_pilot_can_judge_are_refused():
    noise = torch.randn(2, 2, dtype=torch.float64)
    with pytest.raises(DiffkitError, match="steps=30"):
        calibrate(MixtureDenoiser(MIXTURES["soft3"], EDM), noise, steps=30, scale=0.6, pilot_steps=60)


def test_a_model_whose_estimates_are_not_finite_is_refused():
    class Broken(MixtureDenoiser):
        def __call__(self, *args, **cond):
            return super().__call__(*args, **cond) * math.nan

    with pytest.raises(DiffkitError, match="NaN or infinity"):
        calibrate(Broken(MIXTURES["soft3"], EDM), torch.randn(4, 2).double(), steps=5, scale=0.6, pilot_steps=60)
