"""The checks a noise schedule passes."""

import torch

from diffkit.contracts.schedule import Schedule, derivatives


def check_schedule(schedule: Schedule) -> None:
    """Raise ``AssertionError``, with a sentence that says what is wrong, unless ``schedule`` keeps its contract.

    On [0, 1], the ends included: α and σ are positive and finite, elementwise, and keep shape and dtype; λ is
    log(α/σ) and strictly decreasing; time inverts λ to 1e-10, and stays in [0, 1] beyond the ends; all of them can be
    differentiated, with finite derivatives.
    """
    name = type(schedule).__name__
    functions = {"alpha": schedule.alpha, "sigma": schedule.sigma, "lam": schedule.lam}
    for dtype in (torch.float64, torch.float32):
        for shape in ((), (3,), (2, 3, 1)):
            t = torch.full(shape, 0.5, dtype=dtype)
            for method, value in {**{m: f(t) for m, f in functions.items()}, "time": schedule.time(0 * t)}.items():
                assert (value.shape, value.dtype) == (t.shape, dtype), (
                    f"{name}.{method} returns {value.dtype} {tuple(value.shape)} for {dtype} {tuple(shape)}; "
                    f"a schedule keeps shape and dtype"
                )

    t = torch.linspace(0, 1, 1001, dtype=torch.float64)
    alpha, sigma, lam = schedule.alpha(t), schedule.sigma(t), schedule.lam(t)
    for symbol, value in (("α", alpha), ("σ", sigma)):
        bad = ~(value.isfinite() & (value > 0))
        assert not bad.any(), (
            f"{name}: {symbol} is {value[bad][0]:g} at t={t[bad][0]:g}; it has to be positive and finite on all of "
            f"[0, 1]: cut a little off the end where λ is infinite"
        )
    rising = lam.diff() >= 0
    assert not rising.any(), f"{name}: λ does not fall after t={t[:-1][rising][0]:g}; it has to be strictly decreasing"

    gap = (lam - (alpha.log() - sigma.log())).abs()
    assert gap.max() < 1e-8, f"{name}: λ differs from log(α/σ) by {gap.max():.2g} at t={t[gap.argmax()]:g}"
    gap = (schedule.time(lam) - t).abs()
    assert gap.max() < 1e-10, (
        f"{name}: time(lam(t)) differs from t by {gap.max():.2g} at t={t[gap.argmax()]:g}; "
        f"time is the inverse of lam, to 1e-10"
    )
    beyond = schedule.time(torch.stack((lam[0] + 5, lam[-1] - 5)))
    assert ((beyond >= 0) & (beyond <= 1)).all(), (
        f"{name}: time is {beyond.tolist()} for a λ beyond the ends; it has to stay in [0, 1]"
    )

    slopes = {"dα/dt": derivatives(schedule, t)[0], "dσ/dt": derivatives(schedule, t)[1]}
    inside, level = t[1:-1].clone().requires_grad_(), lam[1:-1].clone().requires_grad_()
    for symbol, value, at in (("dλ/dt", schedule.lam(inside), inside), ("dt/dλ", schedule.time(level), level)):
        assert value.requires_grad, f"{name}: {symbol} does not exist; write lam and time with torch, not on the host"
        slopes[symbol] = torch.autograd.grad(value.sum(), at)[0]
        assert (slopes[symbol] < 0).all(), f"{name}: {symbol} is not negative everywhere; λ has to fall with t"
    for symbol, slope in slopes.items():
        assert slope.isfinite().all(), f"{name}: {symbol} is not finite on all of [0, 1]"

    step = 1e-6
    for symbol, function in (("dα/dt", schedule.alpha), ("dσ/dt", schedule.sigma)):
        measured = (function(inside + step) - function(inside - step)).detach() / (2 * step)
        gap = (measured - slopes[symbol][1:-1]).abs() / (1 + measured.abs())
        assert gap.max() < 1e-4, (
            f"{name}: {symbol} by automatic differentiation differs from the finite difference at "
            f"t={inside[gap.argmax()]:g}; something in the formula is detached from t"
        )
