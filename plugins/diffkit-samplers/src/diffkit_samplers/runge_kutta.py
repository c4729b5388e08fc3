"""Runge-Kutta methods in the coordinates of rectified flow, where the probability flow stays bounded.

With τ = σ/(α + σ) and y = x/(α + σ) the flow is dy/dτ = (y - D)/τ (see :class:`~diffkit_samplers.euler.Euler`). An
explicit method with the matrix a_ij takes y_i = y + (τ' - τ) Σ_j a_ij (y_j - D_j)/τ_j; the slopes are linear in y and
the estimates, and so are all stages:

    y_i = (τ_i/τ) y + Σ_j v_ij D_j,        v_i = (τ' - τ) Σ_j a_ij (v_j - e_j)/τ_j.
"""

from functools import cache

from diffkit_samplers.staged import Number, Stage

Tableau = tuple[tuple[float, ...], ...]
"""The rows a_i of a method from its second stage on; the last is the end of the step."""


def explicit(tableau: Tableau, s: Number, s_then: Number) -> list[Stage]:
    """Return the stages of steps from s = σ/α to ``s_then``, in z = x/α."""
    return [(place, [(1 + place) * v for v in row]) for place, row in bounded(tableau, s, s_then)]


def bounded(tableau: Tableau, s: Number, s_then: Number) -> list[Stage]:
    """Return the places s_i and the weights v_i, in y."""
    clean, clean_then = 1 / (1 + s), 1 / (1 + s_then)  # 1 - τ
    step = clean - clean_then
    taus, known, found, places = [1 - clean], list[list[Number]]([[]]), list[Stage](), {1.0: s_then}
    for part, terms in _sparse(tableau):
        weights: list[Number] = [0.0] * len(known)
        for j, a in terms:
            slope = a * step / taus[j]
            weights[j] = weights[j] - slope
            for i, earlier in enumerate(known[j]):
                weights[i] = weights[i] + slope * earlier
        inner = clean - part * step
        if part not in places:
            places[part] = (1 - inner) / inner
        taus.append(1 - inner)
        known.append(weights)
        found.append((places[part], weights))
    return found


@cache
def _sparse(tableau: Tableau) -> list[tuple[float, list[tuple[int, float]]]]:
    """Return of each row the part of the step that it goes, and what is not 0 in it, with its place."""
    return [(round(sum(row), 12), [(j, a) for j, a in enumerate(row) if a]) for row in tableau]
