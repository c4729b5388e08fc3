"""The density that a model gives to data, by its probability flow.

With c the standard deviation of the data and the angle φ = atan(σ / (c α)), the flow of u = x / √(c² α² + σ²) is

    du/dφ = (cos φ · u - D / c) / sin φ

under every schedule: both u and its slope stay bounded from clean data (φ=0) to noise (φ=π/2). Along it the log
density changes by minus the divergence, which is (d cos φ - tr ∂(D/c)/∂u) / sin φ, so that

    log p(u₀) = log p(u₁) + ∫ div dφ.

Song et al., "Score-Based Generative Modeling through Stochastic Differential Equations" (2021), section 4.3. At the
noisy end the density is taken as N(α m, (c² α² + σ²) I), with m the model's own estimate from no information, D(0).
"""

from math import atan, cos, log, pi, prod, sin

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, Streams
from diffkit.contracts.sampling import Denoise
from diffkit_inference.divergence import HutchinsonTrace, Trace, exact_trace
from diffkit_inference.dormand_prince import integrate
from diffkit_inference.ends import data_std, noise_range, refuse_other_noise


def log_prob(
    denoiser: Denoise,
    x0: Tensor,
    *,
    probes: int = 0,
    streams: Streams | None = None,
    std: float | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    rtol: float = 1e-5,
    limit: int = 20_000,
    **cond: Tensor,
) -> Tensor:
    """Return the log density of ``x0``, in nats, ``(batch,)``.

    It is the density of data with noise of standard deviation ``sigma_min``, without which a model says nothing.

    Args:
        denoiser: the model, trained with normal noise.
        x0: clean data ``(batch, channels, *shape)``.
        probes: 0 takes the divergence exactly, by as many backward passes an evaluation as an item has values; from 1
            on it is estimated (Hutchinson) by as many backward passes as there are probes, without bias.
        streams: one random stream a sample, for the probes.
        std: the standard deviation c of the data; the model's own where none is given.
        sigma_min: the smallest σ/α; the schedule's own where none is given.
        sigma_max: the largest σ/α, likewise.
        rtol: the error allowed in each step of the solver, relative to u, and absolute as well.
        limit: the largest number of evaluations of the model.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: where the tolerance is not reached within ``limit``, or the noise of the model is not normal.
    """
    refuse_other_noise(denoiser)
    c = data_std(denoiser, std)
    smallest, largest = noise_range(denoiser.schedule, sigma_min, sigma_max)
    first, last = atan(smallest / c), atan(largest / c)
    shape, d = x0.shape[1:], prod(x0.shape[1:])
    trace = _trace(probes, streams, x0)

    def slope(phi: float, state: Tensor) -> Tensor:
        at = _level(phi, c, like=x0)
        u = state[:, :-1].reshape(-1, *shape)
        value, jacobian = trace(lambda u: denoiser(u, at, **cond) / c, u)
        du = (cos(phi) * u - value) / sin(phi)
        return torch.cat((du.flatten(1), ((d * cos(phi) - jacobian) / sin(phi))[:, None]), 1)

    start = torch.cat((cos(first) / c * x0.flatten(1), torch.zeros_like(x0.flatten(1)[:, :1])), 1)
    state = integrate(slope, start, first, last, rtol=rtol, atol=rtol, limit=limit)
    with torch.no_grad():
        mean = cos(last) / c * denoiser(torch.zeros_like(x0), _level(last, c, like=x0), **cond).flatten(1)
    prior = -((state[:, :-1] - mean).square().sum(1) + d * log(2 * pi)) / 2
    return prior + state[:, -1] + d * log(cos(first) / c)


def bits_per_dim(log_prob: Tensor, shape: tuple[int, ...], width: float = 1.0) -> Tensor:
    """Return -log₂ p / d, the bits that a value of an item takes where values are told apart by ``width``.

    Args:
        log_prob: log densities in nats, ``(batch,)``.
        shape: the shape of an item.
        width: the width of a bin. For data of n levels in [-1, 1] it is 2 / (n - 1), and the density is that of the
            data plus uniform noise of this width; 1 leaves the density as it is.
    """
    return -log_prob / (prod(shape) * log(2)) - log(width) / log(2)


def _trace(probes: int, streams: Streams | None, x0: Tensor) -> Trace:
    if probes < 0:
        raise DiffkitError(f"probes={probes} is not a number of probes; give 1 or more, or 0 for the exact divergence")
    if probes == 0:
        return exact_trace
    shape = tuple(x0.shape[1:])
    normal = [streams.draw(shape, k, like=x0) if streams else torch.randn_like(x0) for k in range(probes)]
    return HutchinsonTrace([torch.where(z < 0, -1.0, 1.0).to(x0) for z in normal])


def _level(phi: float, c: float, like: Tensor) -> Level:
    """Return the level at which u is x itself: c² α² + σ² = 1."""
    lam = -log(c) - log(sin(phi) / cos(phi))
    return Level(cos(phi) / c, sin(phi), lam, like.new_tensor(lam))
