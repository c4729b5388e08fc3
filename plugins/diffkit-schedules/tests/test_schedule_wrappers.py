"""Schedules made of another one."""

import math

import pytest
import torch
from diffkit_schedules import (
    EDM,
    Clipped,
    Cosine,
    Flow,
    Linear,
    LinearTable,
    ScaledLinear,
    ScaledLinearTable,
    Shifted,
    ZeroSNR,
)

from diffkit import DataSpec, DiffkitError, build

T = torch.linspace(0, 1, 501, dtype=torch.float64)
BASES = [Linear(), Cosine(), Flow(), EDM(), LinearTable()]


@pytest.mark.parametrize("base", BASES)
@pytest.mark.parametrize("shift", [0.25, 4])
def test_a_shift_lowers_all_levels_by_its_log_and_keeps_the_power(base, shift):
    schedule = Shifted(base, shift)
    assert torch.allclose(schedule.lam(T), base.lam(T) - math.log(shift), rtol=0, atol=1e-14)
    power = schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2
    assert torch.allclose(power, base.alpha(T) ** 2 + base.sigma(T) ** 2, rtol=1e-13)


def test_a_shifted_cosine_is_simple_diffusions():
    """log SNR = 2 log cot(πt/2) + 2 log(64/d), of which the ends of λ cut off little."""
    d, u = 256, torch.linspace(0.01, 0.99, 99, dtype=torch.float64)
    log_snr = -2 * torch.log(torch.tan(math.pi * u / 2)) + 2 * math.log(64 / d)
    assert torch.allclose(Shifted(Cosine(-20, 20), d / 64).time(log_snr / 2), u, rtol=0, atol=1e-8)


def test_shifts_multiply():
    assert torch.allclose(Shifted(Shifted("cosine", 2), 3).alpha(T), Shifted("cosine", 6).alpha(T), rtol=1e-13)


@pytest.mark.parametrize("base", BASES)
def test_a_clipped_schedule_is_the_base_between_its_ends(base):
    schedule = Clipped(base, lam_min=-3, lam_max=4)
    assert schedule.lam(T[[0, -1]]).tolist() == pytest.approx([4, -3], abs=1e-9)
    u = base.time(schedule.lam(T))
    assert torch.allclose(u.diff(n=2), torch.zeros(499, dtype=torch.float64), atol=1e-11)
    for name in ("alpha", "sigma"):
        assert torch.allclose(getattr(schedule, name)(T), getattr(base, name)(u), rtol=1e-9)


def test_clipping_beyond_the_ends_of_the_base_changes_nothing():
    assert torch.allclose(Clipped("linear", -20, 20).lam(T), Linear().lam(T), rtol=0, atol=1e-12)


@pytest.mark.parametrize("base", [ScaledLinear(), Linear(), Cosine(), ScaledLinearTable()])
def test_zero_snr_is_a_line_in_the_base_from_its_start_to_the_end_that_is_asked_for(base):
    schedule = ZeroSNR(base, lam_min=-12)
    assert torch.allclose(schedule.alpha(T) ** 2 + schedule.sigma(T) ** 2, torch.ones_like(T), rtol=0, atol=1e-14)
    assert schedule.lam(T[[0, -1]]).tolist() == pytest.approx([base.lam(T[:1]).item(), -12], abs=1e-9)
    ratio = schedule.alpha(T).diff() / base.alpha(T).diff()
    assert torch.allclose(ratio, ratio.mean().expand(500), rtol=1e-6)


def test_zero_snr_is_the_papers_as_its_end_goes_to_zero():
    """√ᾱ shifted by its last and scaled to keep its first, on Stable Diffusion's table."""
    beta = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    root = torch.cumprod(1 - beta, 0).sqrt()
    paper = (root - root[-1]) * root[0] / (root[0] - root[-1])
    t = torch.arange(1000, dtype=torch.float64) / 999
    for lam_min in (-5, -10, -15):
        gap = (ZeroSNR("scaled_linear_table", lam_min).alpha(t) - paper).abs().max()
        assert gap == pytest.approx(math.exp(lam_min), rel=1e-3)


def test_of_a_base_that_does_not_preserve_variance_zero_snr_takes_the_levels():
    levels = ZeroSNR("edm").lam(T)
    assert levels[0] == pytest.approx(EDM().lam(T[:1]).item(), abs=1e-9)
    assert levels[-1] == pytest.approx(-10, abs=1e-9)


@pytest.mark.parametrize("name", ["shifted", "clipped", "zero_snr"])
def test_a_base_is_a_name_or_a_name_with_options_or_a_schedule(name):
    expected = build("schedule", name, base=EDM(sigma_max=20)).lam(T)
    assert torch.equal(build("schedule", name, base={"name": "edm", "sigma_max": 20}).lam(T), expected)
    assert torch.equal(build("schedule", name, base="edm").lam(T), build("schedule", name, base=EDM()).lam(T))


@pytest.mark.parametrize("name", ["shifted", "clipped", "zero_snr"])
def test_a_base_is_an_option_in_a_config(name, compose):
    config = compose(f"schedule={name}", "schedule.base={name: edm, sigma_max: 20}").schedule
    assert torch.equal(build("schedule", config).lam(T), build("schedule", name, base=EDM(sigma_max=20)).lam(T))


def test_the_base_is_told_what_is_modelled(monkeypatch):
    import diffkit_schedules.wrapped as module

    told = []
    monkeypatch.setattr(module, "build", lambda *choice, spec: told.append(spec) or Cosine())
    spec = DataSpec(channels=1, shape=(8, 8))
    build("schedule", "shifted", spec=spec)
    assert told == [spec]


class Bumpy(Cosine):
    """λ rises again in the middle."""

    def lam(self, t):
        return super().lam(t) + torch.sin(12 * t)


@pytest.mark.parametrize("wrapper", [Shifted, Clipped, ZeroSNR])
def test_a_base_that_is_not_monotone_is_refused_in_one_sentence(wrapper):
    with pytest.raises(DiffkitError, match=r"base=Bumpy is not monotone: its λ does not fall after t=0\.\d+;") as error:
        wrapper(Bumpy())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Shifted(shift=0), "shift=0"),
        (lambda: Shifted(base=3), "base=3 is no schedule"),
        (lambda: Shifted(base="cosin"), "schedule 'cosin' is not installed .did you mean 'cosine'"),
        (lambda: Shifted(base={"name": "edm", "shift": 2}), "schedule 'edm' has no option 'shift'"),
        (lambda: Clipped(lam_min=2, lam_max=1), "lam_min=2 and lam_max=1"),
        (
            lambda: Clipped("linear", lam_min=5, lam_max=9),
            "leave nothing of the base, whose λ is between -5.025 and 4.6",
        ),
        (lambda: ZeroSNR("cosine"), "lam_min=-10.0 is not below the λ at which the base ends, -10"),
        (lambda: ZeroSNR(lam_min=-1000), "lam_min=-1000"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(make, said):
    with pytest.raises(DiffkitError, match=said):
        make()
