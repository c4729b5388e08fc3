"""Solvers that are one method under certain options, and solvers beside their published recurrences."""

import math
from functools import partial

import numpy as np
import pytest
import torch
from diffkit_samplers import DDIM, DEIS, DPM2, IPNDM, LMS, PNDM, RK4, DPMpp2M, DPMpp2S, DPMpp3M, DPMpp3S, UniPC

from diffkit import StepSampler, levels
from diffkit.testing import GaussianMixture, MixtureDenoiser
from diffkit.testing.sampler import SCHEDULES

RING = GaussianMixture.ring8()
UNEVEN = [-4.0, -3.1, -2.5, -1.4, -0.8, 0.3, 1.0, 1.2]


def path(schedule, lam):
    lam = torch.as_tensor(lam, dtype=torch.float64)
    return levels(schedule, schedule.time(lam), like=lam)


def walked(sampler, schedule, lam=UNEVEN, clean=False):
    """Return where a solver arrives from one start, under the exact denoiser of ring8."""
    nodes = path(schedule, lam)[: None if clean else -1]
    generator = torch.Generator().manual_seed(0)
    z = RING.sample(16, generator) + nodes[0].ratio * torch.randn(16, 2, generator=generator, dtype=torch.float64)
    return sampler.integrate(MixtureDenoiser(RING, schedule), nodes[0].alpha * z, nodes)


def same(one, two, atol=1e-10, **how):
    for schedule in SCHEDULES:
        found, expected = walked(one, schedule, **how), walked(two, schedule, **how)
        assert torch.allclose(found, expected, rtol=0, atol=atol), (found - expected).abs().max()


@pytest.mark.parametrize(
    "sampler",
    [UniPC(order=1, corrector=False), UniPC(order=1, variant="bh1", corrector=False), LMS(order=1), DEIS(order=1)],
    ids=["unipc bh2", "unipc bh1", "lms", "deis"],
)
@pytest.mark.parametrize("clean", [False, True])
def test_order_1_is_ddim(sampler, clean):
    same(sampler, DDIM(), clean=clean)


@pytest.mark.parametrize(
    "sampler",
    [UniPC(order=3), DPMpp3M(), LMS(), DEIS(), IPNDM(), PNDM(), RK4(), DPM2(), DPMpp2S(), DPMpp3S()],
    ids=lambda s: type(s).__name__,
)
def test_the_only_step_to_clean_data_is_that_of_ddim(sampler):
    same(sampler, DDIM(), lam=[-2.0], clean=True)


@pytest.mark.parametrize("clean", [False, True])
def test_unipc_of_order_2_and_bh2_without_its_corrector_is_dpmpp_2m(clean):
    same(UniPC(order=2, corrector=False), DPMpp2M(), clean=clean)


def test_the_variants_of_unipc_differ_where_one_other_estimate_is_looked_at():
    one, two = (walked(UniPC(order=2, variant=v, corrector=False), SCHEDULES[0]) for v in ("bh1", "bh2"))
    assert (one - two).abs().max() > 1e-3


class PublishedUniPC(StepSampler):
    """The algorithm as printed: a linear system for the a_j, solved anew in every step."""

    history = 3

    def __init__(self, order, variant):
        super().__init__()
        self.order, self.variant = order, variant

    def taken(self, x, x0, now, then, others):
        """Take a step with estimates ``others``, as (λ, D)."""
        h = then.lam - now.lam
        big = -h if self.variant == "bh1" else math.expm1(-h)
        result = then.sigma / now.sigma * x - then.alpha * math.expm1(-h) * x0
        r = np.array([(lam - now.lam) / h for lam, _ in others])
        if len(r) == 1:
            a = [0.5]
        else:
            phi, right = math.expm1(-h) / -h - 1, []
            for i in range(1, len(r) + 1):
                right.append(phi * math.factorial(i) / big)
                phi = phi / -h - 1 / math.factorial(i + 1)
            a = np.linalg.solve(np.vander(r, increasing=True).T, right)
        for weight, ratio, (_, estimate) in zip(a, r, others, strict=True):
            result = result - then.alpha * big * weight * (estimate - x0) / ratio
        return result

    def correct(self, x, x0, now, *, past, **_):
        if not past:
            return x
        *before, start = past
        known = [(p.level.lam, p.x0) for p in before[::-1]][: self.order - 1]
        return self.taken(start.x, start.x0, start.level, now, [*known, (now.lam, x0)])

    def step(self, x, x0, now, then, *, past, **_):
        known = [(p.level.lam, p.x0) for p in reversed(past)][: self.order - 1]
        return self.taken(x, x0, now, then, known)


@pytest.mark.parametrize("solver", [partial(UniPC, order=3), DPMpp3M], ids=["unipc", "dpmpp_3m"])
def test_towards_clean_data_no_more_estimates_are_looked_at_than_steps_are_left(solver):
    nodes = path(SCHEDULES[0], UNEVEN)
    for walk, looks in ((nodes, [1, 2, 3, 3, 3, 3, 2, 1]), (nodes[:-1], [1, 2, 3, 3, 3, 3, 3])):
        assert (solver().weights(walk)[1] != 0).sum(1).tolist() == looks


@pytest.mark.parametrize("variant", ["bh1", "bh2"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_unipc_is_the_published_algorithm(order, variant):
    same(UniPC(order=order, variant=variant), PublishedUniPC(order, variant))


class Published3M(StepSampler):
    """DPM-Solver++(3M) with the second difference D2 by ``weight``: 1 in code in circulation, 2 by Taylor's theorem."""

    history = 2

    def __init__(self, weight):
        super().__init__()
        self.weight = weight

    def step(self, x, x0, now, then, *, past, **_):
        if len(past) < 2:
            return DPMpp3M().step(x, x0, now, then, past=past, plan=self.first(now, then, past), draw=None)
        h = then.lam - now.lam
        one, two = past[-1], past[-2]
        r0, r1 = (now.lam - one.level.lam) / h, (one.level.lam - two.level.lam) / h
        slope, slope_before = (x0 - one.x0) / r0, (one.x0 - two.x0) / r1
        d1 = slope + r0 / (r0 + r1) * (slope - slope_before)
        d2 = self.weight * (slope - slope_before) / (r0 + r1)
        phi1 = math.expm1(-h)
        phi2 = phi1 / h + 1
        phi3 = phi2 / h - 0.5
        return then.sigma / now.sigma * x + then.alpha * (-phi1 * x0 + phi2 * d1 - phi3 * d2)

    def first(self, now, then, past):
        return DPMpp3M().prepare([*(p.level for p in past), now, then])[-1]


@pytest.mark.parametrize("lam", [UNEVEN, np.linspace(-3, 2, 11).tolist()], ids=["uneven", "uniform in λ"])
def test_dpmpp_3m_is_its_recurrence_with_the_whole_of_the_curvature(lam):
    same(DPMpp3M(), Published3M(2), lam=lam)


def test_the_recurrence_in_circulation_has_half_of_the_curvature_and_order_2():
    exact = walked(RK4(), SCHEDULES[2], np.linspace(-5, 1, 251))
    for weight, order in ((1, 2), (2, 3)):
        errors = [
            (walked(Published3M(weight), SCHEDULES[2], np.linspace(-5, 1, n + 1)) - exact).norm(dim=1).mean().item()
            for n in (100, 200)
        ]
        assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.25)


class Published2M(StepSampler):
    """DPM-Solver++(2M) on levels uniform in λ, where r is 1."""

    history = 1

    def step(self, x, x0, now, then, *, past, **_):
        d = 1.5 * x0 - 0.5 * past[-1].x0 if past else x0
        return then.sigma / now.sigma * x - then.alpha * math.expm1(now.lam - then.lam) * d


def test_dpmpp_2m_on_levels_uniform_in_lambda_is_its_recurrence():
    same(DPMpp2M(), Published2M(), lam=np.linspace(-3, 2, 11).tolist())


class PublishedSingle(StepSampler):
    """DPM-Solver-2 (``ε``) and DPM-Solver++(2S) and (3S) as printed, in x, with levels of the model's own schedule."""

    def __init__(self, method, schedule):
        super().__init__()
        self.method, self.schedule = method, schedule

    def step(self, x, x0, now, then, *, denoise, **_):
        h = then.lam - now.lam

        def reach(part):
            return path(self.schedule, [now.lam + part * h])[0]

        def carried(level, part, slope=0.0):
            return level.sigma / now.sigma * x - level.alpha * (math.expm1(-part * h) * x0 - slope)

        if self.method == "ε":
            middle, noise = reach(1 / 2), (x - now.alpha * x0) / now.sigma
            u = middle.alpha / now.alpha * x - middle.sigma * math.expm1(h / 2) * noise
            noise = (u - middle.alpha * denoise(u, middle)) / middle.sigma
            return then.alpha / now.alpha * x - then.sigma * math.expm1(h) * noise
        if self.method == "2S":
            middle = reach(1 / 2)
            d = denoise(carried(middle, 1 / 2), middle)
            return then.sigma / now.sigma * x - then.alpha * math.expm1(-h) * d
        first, second = reach(1 / 3), reach(2 / 3)
        d1 = denoise(carried(first, 1 / 3), first)
        f = math.expm1(-2 * h / 3) / (2 * h / 3) + 1
        d2 = denoise(carried(second, 2 / 3, 2 * f * (d1 - x0)), second)
        return carried(then, 1, 1.5 * (math.expm1(-h) / h + 1) * (d2 - x0))


@pytest.mark.parametrize(("solver", "method"), [(DPM2, "ε"), (DPMpp2S, "2S"), (DPMpp3S, "3S")])
def test_single_step_methods_are_the_published_ones_on_levels_of_any_schedule(solver, method):
    for schedule in SCHEDULES:
        found, expected = walked(solver(), schedule), walked(PublishedSingle(method, schedule), schedule)
        assert torch.allclose(found, expected, rtol=0, atol=1e-10)


class ByPolynomials(StepSampler):
    """ε as a polynomial in ``coordinate``, integrated over σ/α by a rule with thousands of places."""

    history = 3

    def __init__(self, order, coordinate):
        super().__init__()
        self.order, self.coordinate = order, coordinate

    def step(self, x, x0, now, then, *, past, **_):
        points = [(now, x, x0), *reversed(past)][: self.order]
        s = np.linspace(now.ratio, then.ratio, 4001)
        z = x / now.alpha
        for j, (at, x_at, x0_at) in enumerate(points):
            basis = np.ones_like(s)
            for i, (other, *_) in enumerate(points):
                if i != j:
                    phi, own = self.coordinate(other.ratio), self.coordinate(at.ratio)
                    basis = basis * (self.coordinate(s) - phi) / (own - phi)
            simpson = np.r_[1, np.tile([4, 2], 1999), 4, 1] @ basis * (s[1] - s[0]) / 3
            z = z + float(simpson) * (x_at - at.alpha * x0_at) / at.sigma
        return then.alpha * z


def time(s):
    """The time of β from 0.1 to 20, found from log α = -¼ t² (20 - 0.1) - ½ t 0.1."""
    log_alpha = -0.5 * np.log1p(np.square(s))
    return (-0.05 + np.sqrt(0.05**2 - 4 * 19.9 / 4 * log_alpha)) / (19.9 / 2)


@pytest.mark.parametrize("order", [2, 3, 4])
@pytest.mark.parametrize("clean", [False, True])
def test_lms_has_polynomials_in_sigma_over_alpha(order, clean):
    same(LMS(order=order), ByPolynomials(order, lambda s: s), atol=1e-9, clean=clean)


@pytest.mark.parametrize("order", [2, 3])
@pytest.mark.parametrize("clean", [False, True])
def test_deis_has_polynomials_in_the_time_of_its_paper(order, clean):
    same(DEIS(order=order), ByPolynomials(order, time), atol=1e-7, clean=clean)


class InTau(StepSampler):
    """The classical Runge-Kutta method on dy/dτ = (y - D)/τ, by slopes."""

    def step(self, x, x0, now, then, *, denoise, **_):
        def slope(y, tau):
            (level,) = path(SCHEDULES[1], [math.log(1 / tau - 1)])[:-1]
            return (y - denoise((level.alpha + level.sigma) * y, level)) / tau

        tau, tau_then = (1 / (1 + 1 / at.ratio) for at in (now, then))
        y, h = x / (now.alpha + now.sigma), tau_then - tau
        k1 = slope(y, tau)
        k2 = slope(y + h / 2 * k1, tau + h / 2)
        k3 = slope(y + h / 2 * k2, tau + h / 2)
        k4 = slope(y + h * k3, tau_then)
        return (then.alpha + then.sigma) * (y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4))


def test_rk4_is_the_classical_method_in_tau():
    same(RK4(), InTau())


def test_ipndm_is_lms_where_the_grid_is_uniform_in_sigma_over_alpha():
    same(IPNDM(), LMS(order=4), lam=-np.log(np.linspace(5, 0.5, 12)))


def test_pndm_has_order_4_where_the_grid_is_uniform_in_sigma_over_alpha():
    first, *others = [
        walked(sampler, SCHEDULES[2], -np.log(np.linspace(3, 1, steps + 1)))
        for sampler, steps in ((RK4(), 200), (PNDM(), 60), (PNDM(), 120))
    ]
    coarse, fine = ((x - first).norm(dim=1).mean().item() for x in others)
    assert math.log2(coarse / fine) == pytest.approx(4, abs=0.25)
