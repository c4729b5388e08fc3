"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_schedules() -> Iterable[Component]:
    """Register the noise schedules."""
    yield Component("linear", "diffkit_schedules.linear:Linear", "DDPM's linear β, in continuous time")
    yield Component("cosine", "diffkit_schedules.cosine:Cosine", "α = cos φ, σ = sin φ, φ uniform in t")
    yield Component("flow", "diffkit_schedules.flow:Flow", "rectified flow: a straight line, α = 1 - σ")
    yield Component("edm", "diffkit_schedules.edm:EDM", "α = 1, σ from sigma_min to sigma_max by its ρ-th root")
