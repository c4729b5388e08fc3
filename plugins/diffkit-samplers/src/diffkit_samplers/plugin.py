"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_samplers() -> Iterable[Component]:
    """Register the samplers."""
    yield Component("ddpm", "diffkit_samplers.ddpm:DDPM", "ancestral sampling: fresh noise at every step")
    yield Component("ddim", "diffkit_samplers.ddim:DDIM", "first order, deterministic; eta adds noise")
    yield Component("euler", "diffkit_samplers.euler:Euler", "Euler's method on the probability flow; equals ddim")
    yield Component("heun", "diffkit_samplers.heun:Heun", "second order, two evaluations a step")
    yield Component("dpmpp_2m", "diffkit_samplers.dpmpp_2m:DPMpp2M", "second order, one evaluation a step")


@hookimpl
def diffkit_grids() -> Iterable[Component]:
    """Register the grids."""
    yield Component("uniform", "diffkit_samplers.grids:UniformGrid", "uniform in t")
    yield Component("karras", "diffkit_samplers.grids:KarrasGrid", "uniform in the ρ-th root of σ/α")
    yield Component("loglinear", "diffkit_samplers.grids:LogLinearGrid", "uniform in λ")


@hookimpl
def diffkit_guidances() -> Iterable[Component]:
    """Register the guidances."""
    yield Component("none", "diffkit_samplers.guidance:Unguided", "the model as it is")
    yield Component("cfg", "diffkit_samplers.guidance:CFG", "classifier-free guidance: away from the null label")
