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
    yield Component("scaled_linear", "diffkit_schedules.scaled_linear:ScaledLinear", "Stable Diffusion's: √β linear")
    yield Component("linear_table", "diffkit_schedules.tables:LinearTable", "DDPM's table itself, entry by entry")
    yield Component(
        "scaled_linear_table", "diffkit_schedules.tables:ScaledLinearTable", "Stable Diffusion's table, entry by entry"
    )
    yield Component("sigmoid", "diffkit_schedules.sigmoid:Sigmoid", "α² along a piece of the sigmoid curve")
    yield Component("vp", "diffkit_schedules.vp:VP", "the variance-preserving SDE, β from beta_min to beta_max")
    yield Component("ve", "diffkit_schedules.ve:VE", "α = 1, σ geometric: the variance-exploding SDE")
    yield Component("laplace", "diffkit_schedules.laplace:Laplace", "λ has a Laplace distribution: middle noise")
    yield Component("cauchy", "diffkit_schedules.cauchy:Cauchy", "λ has a Cauchy distribution: heavier tails")
    yield Component(
        "tabulated", "diffkit_schedules.tabulated:Tabulated", "your own table of betas, or alphas and sigmas"
    )
    yield Component("learned", "diffkit_schedules.learned:Learned", "VDM's monotone network, for a loop of your own")
    yield Component("shifted", "diffkit_schedules.shifted:Shifted", "another schedule for another resolution")
    yield Component("clipped", "diffkit_schedules.clipped:Clipped", "another schedule between two λ only")
    yield Component("zero_snr", "diffkit_schedules.zero_snr:ZeroSNR", "another schedule, ended with next to no signal")
