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
    yield Component("exp_adams", "diffkit_samplers.exp_adams:ExpAdams", "order 2 to 7 in a coordinate of the data")
    yield Component("dpmpp_2m", "diffkit_samplers.dpmpp_2m:DPMpp2M", "second order, one evaluation a step")
    yield Component("dpm_2", "diffkit_samplers.dpm_2:DPM2", "the midpoint in log σ: second order, two evaluations")
    yield Component("dpmpp_2s", "diffkit_samplers.dpmpp_2s:DPMpp2S", "second order, two evaluations a step")
    yield Component("dpmpp_3s", "diffkit_samplers.dpmpp_3s:DPMpp3S", "third order, three evaluations a step")
    yield Component("dpmpp_3m", "diffkit_samplers.dpmpp_3m:DPMpp3M", "third order, one evaluation a step")
    yield Component("unipc", "diffkit_samplers.unipc:UniPC", "predictor and corrector of order 2 to 4, one evaluation")
    yield Component("deis", "diffkit_samplers.deis:DEIS", "ε as a polynomial in time: order 1 to 3, one evaluation")
    yield Component("lms", "diffkit_samplers.lms:LMS", "ε as a polynomial in σ/α: order 1 to 4, one evaluation")
    yield Component("ipndm", "diffkit_samplers.ipndm:IPNDM", "second order, one evaluation a step: four past ε")
    yield Component("pndm", "diffkit_samplers.pndm:PNDM", "as ipndm, started by Runge-Kutta steps")
    yield Component("rk4", "diffkit_samplers.rk4:RK4", "fourth order, four evaluations a step")
    yield Component("bosh3", "diffkit_samplers.bosh3:Bosh3", "third order, in steps of its own choice")
    yield Component("dopri5", "diffkit_samplers.dopri5:Dopri5", "fifth order, in steps of its own choice")
    yield Component("euler_a", "diffkit_samplers.euler_a:EulerA", "Euler's method with ancestral noise; equals ddim")
    yield Component("edm", "diffkit_samplers.edm:EDM", "Heun's method, with noise added before each step")
    yield Component("dpmpp_sde", "diffkit_samplers.dpmpp_sde:DPMppSDE", "an SDE by its middle: two evaluations a step")
    yield Component("dpmpp_2m_sde", "diffkit_samplers.dpmpp_2m_sde:DPMpp2MSDE", "an SDE by two estimates")
    yield Component("dpmpp_3m_sde", "diffkit_samplers.dpmpp_3m_sde:DPMpp3MSDE", "an SDE by three estimates")
    yield Component("sa_solver", "diffkit_samplers.sa_solver:SASolver", "an SDE by a predictor and a corrector")
    yield Component("er_sde", "diffkit_samplers.er_sde:ERSDE", "an SDE with less noise at low levels")
    yield Component("restart", "diffkit_samplers.restart:Restart", "another solver, over an interval again and again")
    yield Component("langevin", "diffkit_samplers.langevin:Langevin", "another solver, corrected by Langevin dynamics")


@hookimpl
def diffkit_grids() -> Iterable[Component]:
    """Register the grids."""
    yield Component("uniform", "diffkit_samplers.grids.uniform:UniformGrid", "uniform in t")
    yield Component("karras", "diffkit_samplers.grids.karras:KarrasGrid", "uniform in the ρ-th root of σ/α")
    yield Component("loglinear", "diffkit_samplers.grids.loglinear:LogLinearGrid", "uniform in λ: geometric in σ/α")
    yield Component("rational", "diffkit_samplers.grids.rational:RationalGrid", "uniform in σ^p/(c^p + σ^p)")
    yield Component("uniform_alpha", "diffkit_samplers.grids.uniform_alpha:UniformAlphaGrid", "uniform in α")
    yield Component("quadratic", "diffkit_samplers.grids.quadratic:QuadraticGrid", "uniform in √t")
    yield Component("beta", "diffkit_samplers.grids.beta:BetaGrid", "quantiles of a beta distribution of t")
    yield Component("table", "diffkit_samplers.grids.table:TableGrid", "timesteps of models trained on tables")
    yield Component("explicit", "diffkit_samplers.grids.explicit:ExplicitGrid", "a list of times, σ/α or λ")


@hookimpl
def diffkit_guidances() -> Iterable[Component]:
    """Register the guidances."""
    at = "diffkit_samplers.guidance"
    yield Component("none", f"{at}.unguided:Unguided", "the model as it is")
    yield Component("cfg", f"{at}.cfg:CFG", "classifier-free guidance: away from the null label, or a negative one")
    yield Component("interval", f"{at}.interval:Interval", "another, at some noise levels only")
    yield Component("rescale", f"{at}.rescale:Rescale", "another, without the contrast it adds")
    yield Component("dynamic_threshold", f"{at}.dynamic_threshold:DynamicThreshold", "another, within the data's range")
    yield Component("apg", f"{at}.apg:APG", "another, across the estimate only")
    yield Component("cfg_pp", f"{at}.cfg_pp:CFGpp", "another, with the noise left as it is")
    yield Component("zero_init", f"{at}.zero_init:ZeroInit", "another, fitted and held at first: CFG-Zero*")
    yield Component("composed", f"{at}.composed:Composed", "several labels at once")
    yield Component("autoguidance", f"{at}.autoguidance:Autoguidance", "away from a weaker model")
    yield Component(
        "perturbed_attention", f"{at}.perturbed_attention:PerturbedAttention", "away from attention to itself"
    )
    yield Component("smoothed_energy", f"{at}.smoothed_energy:SmoothedEnergy", "away from blurred attention")


@hookimpl
def diffkit_commands() -> Iterable[Component]:
    """Register the commands."""
    yield Component(
        "calibrate", "diffkit_samplers.command:calibrate_run", "find the steps that suit a run, and keep them"
    )
