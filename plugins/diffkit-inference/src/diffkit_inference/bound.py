"""A lower bound on the density that a model gives to data: the ELBO in continuous time.

With z = α x₀ + σ ε at λ = log(α/σ), and D the denoiser,

    -log p(x₀) ≤ KL(q(z₁ | x₀) ‖ p(z₁)) + ∫ e^{2λ} E‖x₀ - D(z)‖² dλ - E log p(x₀ | z₀).

Kingma et al., "Variational Diffusion Models" (2021), section 5.1, with SNR = e^{2λ}. The prior p(z₁) is N(α m,
(c² α² + σ²) I) with m = D(0) there and c the standard deviation of the data; the decoder p(x₀ | z₀) is
N(D(z₀), (σ₀/α₀)² I). With the exact denoiser the bound is tight, but for the decoder.
"""

from math import exp, log, pi, prod

import torch
from torch import Tensor

from diffkit import DiffkitError, Level, Streams, generator, levels_at
from diffkit.contracts.sampling import Denoise
from diffkit_inference.ends import data_std, noise_range, refuse_other_noise


@torch.no_grad()
def elbo(
    denoiser: Denoise,
    x0: Tensor,
    *,
    draws: int = 128,
    streams: Streams | None = None,
    std: float | None = None,
    sigma_min: float | None = None,
    sigma_max: float | None = None,
    **cond: Tensor,
) -> Tensor:
    """Return an estimate of a lower bound on the log density of ``x0``, in nats, ``(batch,)``; its mean is the bound.

    The integral is taken over λ in as many strata as there are draws, one random level in each. What the best linear
    denoiser of data N(m, c² I) would err with the same noise is subtracted and its closed form is added, which leaves
    the mean as it is and lowers the variance.

    Args:
        denoiser: the model, trained with normal noise.
        x0: clean data ``(batch, channels, *shape)``.
        draws: the number of evaluations of the model.
        streams: one random stream a sample, for the noise; its seed also draws the levels.
        std: the standard deviation c of the data; the model's own where none is given.
        sigma_min: the smallest σ/α; the schedule's own where none is given.
        sigma_max: the largest σ/α, likewise.
        cond: conditions for the denoiser, each ``(batch, ...)``.

    Raises:
        DiffkitError: where the noise of the model is not normal.
    """
    if draws < 1:
        raise DiffkitError(f"draws={draws} is not a number of noise levels; give 1 or more, such as draws=128")
    refuse_other_noise(denoiser)
    c = data_std(denoiser, std)
    smallest, largest = noise_range(denoiser.schedule, sigma_min, sigma_max)
    low, high, d = -log(largest), -log(smallest), prod(x0.shape[1:])
    offsets = torch.rand(draws, generator=generator(streams.seed, "levels") if streams else None, dtype=torch.float64)
    lams = low + (high - low) * (torch.arange(draws) + offsets) / draws
    *inner, last, first = levels_at([*lams.tolist(), low, high], like=x0)
    mean = denoiser(torch.zeros_like(x0), last, **cond)
    far = _squares(x0 - mean)

    def error(at: Level, step: int) -> Tensor:
        """Return an estimate of e^{2λ} E‖x₀ - D(z)‖²."""
        noise = streams.draw(tuple(x0.shape[1:]), step, like=x0) if streams else torch.randn_like(x0)
        total = (c * at.alpha) ** 2 + at.sigma**2
        linear = (at.alpha * at.sigma * (x0 - mean) - (c * at.alpha) ** 2 * noise) / total
        expected = (at.alpha * at.sigma / total) ** 2 * far + d * (c * at.alpha) ** 4 / total**2
        found = exp(2 * at.lam) * _squares(x0 - denoiser(at.alpha * x0 + at.sigma * noise, at, **cond))
        return found - _squares(linear) + expected

    integral = (high - low) / draws * torch.stack([error(at, k) for k, at in enumerate(inner)]).sum(0)
    decoder = (error(first, draws) + d * log(2 * pi * smallest**2)) / 2
    spread = 1 + (c * exp(low)) ** 2
    prior = (d * (1 / spread - 1 + log(spread)) + exp(2 * low) * far / spread) / 2
    return -(prior + integral + decoder)


def _squares(x: Tensor) -> Tensor:
    return x.square().flatten(1).sum(1)
