"""Runge-Kutta methods in the coordinates of rectified flow, where the probability flow stays bounded.

With τ = σ/(α + σ) and y = x/(α + σ) the flow is dy/dτ = (y - D)/τ (see :class:`~diffkit_samplers.euler.Euler`). An
explicit method with the matrix a_ij takes y_i = y + (τ' - τ) Σ_j a_ij (y_j - D_j)/τ_j; the slopes are linear in y and
the estimates, and so are all stages:

    y_i = (τ_i/τ) y + Σ_j v_ij D_j,        v_i = (τ' - τ) Σ_j a_ij (v_j - e_j)/τ_j.
"""

from collections.abc import Sequence

from diffkit_samplers.staged import Number, Stage

Tableau = Sequence[Sequence[float]]
"""The rows a_i of a method from its second stage on; the last is the end of the step."""


def explicit(tableau: Tableau, s: Number, s_then: Number) -> list[Stage]:
    """Return the stages of steps from s = σ/α to ``s_then``, in z = x/α."""
    return [(place, [(1 + place) * v for v in row]) for place, row in bounded(tableau, s, s_then)]


def bounded(tableau: Tableau, s: Number, s_then: Number) -> list[Stage]:
    """Return the places s_i and the weights v_i, in y."""
    clean, clean_then = 1 / (1 + s), 1 / (1 + s_then)  # 1 - τ
    step = clean - clean_then
    taus, found, places = [1 - clean], [(s, [])], {1.0: s_then}
    for row in tableau:
        slopes = [a * step / tau for a, tau in zip(row, taus, strict=False)]
        weights = [-slope for slope in slopes]
        for a, slope, (_, earlier) in zip(row, slopes, found, strict=False):
            if a:
                weights[: len(earlier)] = [w + slope * v for w, v in zip(weights, earlier, strict=False)]
        part = round(sum(row), 12)
        inner = clean - part * step
        taus.append(1 - inner)
        found.append((places.setdefault(part, (1 - inner) / inner), weights))
    return found[1:]
