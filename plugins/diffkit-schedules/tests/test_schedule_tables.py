"""Tables of noise levels: exact at their entries, monotone and smooth between them."""

import pytest
import torch
from diffkit_schedules import Cosine, Flow, Linear, LinearTable, ScaledLinear, ScaledLinearTable, Tabulated

from diffkit import DiffkitError, build, derivatives

BETAS = {
    "DDPM": (LinearTable(), torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)),
    "short": (LinearTable(0.05, 0.5, 20), torch.linspace(0.05, 0.5, 20, dtype=torch.float64)),
    "Stable Diffusion": (
        ScaledLinearTable(),
        torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2,
    ),
    "given": (Tabulated(betas=[0.3, 0.01, 0.2, 0.9]), torch.tensor([0.3, 0.01, 0.2, 0.9], dtype=torch.float64)),
}


def places(n):
    return torch.arange(n, dtype=torch.float64) / (n - 1)


@pytest.mark.parametrize("which", BETAS)
def test_entries_of_a_table_are_the_products_of_one_minus_beta(which):
    schedule, beta = BETAS[which]
    product = torch.cumprod(1 - beta, 0)
    t = places(len(beta))
    assert torch.allclose(schedule.alpha(t) ** 2, product, rtol=1e-12, atol=0)
    assert torch.allclose(schedule.sigma(t) ** 2, 1 - product, rtol=1e-11, atol=0)
    assert torch.allclose(schedule.time((product / (1 - product)).log() / 2), t, rtol=0, atol=1e-11)


@pytest.mark.parametrize(("table", "limit"), [(LinearTable, Linear), (ScaledLinearTable, ScaledLinear)])
def test_a_table_tends_to_its_limit_of_short_steps(table, limit):
    """With steps of half the length, and as many more, all its levels come closer by half."""
    t, gaps = torch.linspace(0.05, 1, 200, dtype=torch.float64), []
    for finer in (1, 2, 4):
        ends = {"beta_1": 1e-4 / finer, "beta_T": 0.02 / finer, "T": 1000 * finer}
        gaps.append((table(**ends).lam(t) - limit(**ends).lam(t)).abs().max().item())
    assert gaps[0] == pytest.approx(2 * gaps[1], rel=0.1)
    assert gaps[1] == pytest.approx(2 * gaps[2], rel=0.1)
    assert gaps[0] < 0.04


@pytest.mark.parametrize("schedule", [Cosine(-6, 6), Flow(-6, 6)])
def test_a_table_of_a_schedule_approaches_it_between_the_entries(schedule):
    """To the second order at least in the distance of the entries, in α, σ and λ."""
    t, gaps = torch.linspace(0.1, 0.9, 1003, dtype=torch.float64), []
    for n in (101, 201, 401):
        nodes = places(n)
        table = Tabulated(alphas=schedule.alpha(nodes).tolist(), sigmas=schedule.sigma(nodes).tolist())
        pairs = [(getattr(table, name)(t), getattr(schedule, name)(t)) for name in ("alpha", "sigma", "lam")]
        gaps.append(torch.stack([(a - b).abs().max() for a, b in pairs]))
    assert (gaps[1] < gaps[0] / 3.5).all()
    assert (gaps[2] < gaps[1] / 3.5).all()
    assert gaps[2].max() < 1e-4


def test_levels_of_a_smooth_table_approach_it_with_order_three_up_to_its_ends():
    def lam(t):
        return 5 - 6 * t - 4 * t**2

    t, gaps = torch.linspace(0, 1, 1003, dtype=torch.float64), []
    for n in (21, 41, 81):
        table = Tabulated(alphas=[1.0] * n, sigmas=torch.exp(-lam(places(n))).tolist())
        gaps.append((table.lam(t) - lam(t)).abs().max().item())
    assert gaps[0] / gaps[1] > 6.5
    assert gaps[1] / gaps[2] > 6.5


def test_alpha_and_sigma_of_a_table_are_its_own_at_the_entries():
    alphas, sigmas = [1.0, 0.9, 0.6, 0.1], [0.02, 0.1, 0.4, 3.0]
    schedule = Tabulated(alphas=alphas, sigmas=sigmas)
    assert schedule.alpha(places(4)).tolist() == pytest.approx(alphas, rel=1e-13)
    assert schedule.sigma(places(4)).tolist() == pytest.approx(sigmas, rel=1e-13)


def test_a_table_has_no_kinks():
    """The derivative of λ, α and σ is the same on both sides of an entry, however uneven the table is."""
    schedule = Tabulated(alphas=[1.0, 0.99, 0.5, 0.49, 0.01], sigmas=[0.01, 0.5, 0.51, 2.0, 2.1])
    inner = places(5)[1:-1]
    before, after = inner - 1e-9, inner + 1e-9
    for one, other in zip(derivatives(schedule, before), derivatives(schedule, after), strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-6)


def test_levels_fall_between_uneven_entries_too():
    steps = torch.tensor([1e-3, 5, 1e-3, 2, 2, 1e-2, 7], dtype=torch.float64)
    lam = 6 - torch.cat((steps.new_zeros(1), steps.cumsum(0)))
    schedule = Tabulated(alphas=[1.0] * 8, sigmas=torch.exp(-lam).tolist())
    t = torch.linspace(0, 1, 20001, dtype=torch.float64)
    assert (schedule.lam(t).diff() < 0).all()
    assert (schedule.time(schedule.lam(t)) - t).abs().max() < 1e-10


def test_a_table_of_two_entries_is_linear_in_lambda():
    schedule = Tabulated(alphas=[1, 1], sigmas=[0.1, 10])
    assert schedule.lam(torch.tensor([0.25], dtype=torch.float64)).item() == pytest.approx(torch.tensor(10).log() / 2)


def test_a_table_is_an_option_in_a_config(compose):
    config = compose("schedule=tabulated", "schedule.betas=[0.1,0.2,0.4]")
    schedule = build("schedule", config.schedule)
    assert schedule.alpha(torch.ones(1).double()).item() ** 2 == pytest.approx(0.9 * 0.8 * 0.6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "a list of betas, or one of alphas and one of sigmas"),
        ({"betas": [0.1, 0.2], "sigmas": [0.1, 0.2]}, "a list of betas, or one of alphas"),
        ({"alphas": [1, 0.5]}, "a list of betas, or one of alphas"),
        ({"betas": [0.1]}, "betas has 1 entries"),
        ({"betas": "cosine"}, "betas is no list of numbers"),
        ({"betas": [0.1, -0.2]}, r"betas\[1\] is -0.2"),
        ({"betas": [0.1, float("nan")]}, r"betas\[1\] is nan"),
        ({"betas": [0.1, 0.5, 1.0]}, r"betas\[2\] is 1, .*zero_snr"),
        ({"alphas": [1, 0.5, 0.1], "sigmas": [0.1, 0.2]}, "3 alphas and 2 sigmas"),
        ({"alphas": [1, 0], "sigmas": [0.1, 1]}, r"alphas\[1\] is 0"),
        ({"alphas": [1, 0.5, 0.5], "sigmas": [0.1, 0.2, 0.2]}, "not monotone: .* entry 1 to .* entry 2"),
        ({"alphas": [0.1, 1], "sigmas": [1, 0.1]}, "not monotone: .* from -2.3.* at entry 0 to 2.3.* at entry 1"),
    ],
)
def test_what_is_no_table_is_refused_in_one_sentence(options, said):
    with pytest.raises(DiffkitError, match=said) as error:
        build("schedule", "tabulated", **options)
    assert "\n" not in str(error.value)
