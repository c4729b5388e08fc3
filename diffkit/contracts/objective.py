"""What a network learns: three independent choices, and the noise it is trained against."""

from typing import Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor

from diffkit.contracts.schedule import Schedule

Number = TypeVar("Number", float, Tensor)


@runtime_checkable
class Prediction(Protocol):
    """What the network's output F means: a linear map from (x_t, F) to the estimate of the clean data.

        E[x_0 | x_t]  ≈  c_skip x_t + c_out F(c_in x_t, λ)

    This is the preconditioning of Karras et al., "Elucidating the Design Space of Diffusion-Based Generative
    Models" (2022), eq. 7, for any α; predicting ε, x_0, v or a flow are four choices of the coefficients.

    What F means depends on λ alone, not on the scale of x_t: then a network that was trained under one schedule works
    under another. That is so where multiplying α and σ by k divides c_skip and c_in by k and leaves c_out alone.
    """

    def coefficients(self, alpha: Number, sigma: Number) -> tuple[Number, Number, Number]:
        """Return ``(c_skip, c_out, c_in)`` at one noise level, as floats for floats and tensors for tensors.

        A prediction that treats channels differently returns tensors of which they are the last axis: ``(channels,)``
        for floats, and ``(batch, channels)`` for tensors ``(batch,)``.
        """
        ...


@runtime_checkable
class VariancePrediction(Prediction, Protocol):
    """A prediction whose network also says how uncertain the estimate of each value is, by a second output G:

        Var[x_0 | x_t]  ≈  variance(α, σ) exp(G(c_in x_t, λ)).

    Its network is built for a spec with ``outputs=2`` and returns F and then G, along the channels. The denoiser keeps
    G within ±10, smoothly. Such variances belong to the data and λ alone, whatever the steps of a sampler.
    """

    def variance(self, alpha: Number, sigma: Number) -> Number:
        """Return the variance that G = 0 stands for, in the forms of :meth:`coefficients`."""
        ...


@runtime_checkable
class Weighting(Protocol):
    """What the loss emphasises: a weight on the squared error of x_0 as a function of λ.

    Stated once, in x_0 and SNR = exp(2λ), it means the same loss for every prediction: the denoiser converts it
    exactly (an error e in x_0 is an error e / c_out in the network's output).

    A weighting that learns is a ``torch.nn.Module`` with a method ``balance(losses, lam)`` besides, which is given the
    weighted errors and λ, each ``(batch,)``, or ``(batch, frames)``, where the parameters live, and returns the losses
    to train on. Its parameters are trained with the network's and are part of checkpoints; sampling needs none of them.
    """

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam`` (float64, any shape)."""
        ...


@runtime_checkable
class Times(Protocol):
    """Which times a training batch visits.

    One that adapts is a ``torch.nn.Module`` with two methods besides. ``importance(t)`` returns what the losses of
    times ``t`` are multiplied by while training, ``(batch,)`` on the host, so that their mean stays that of some fixed
    distribution. ``observe(t, losses)`` is given the losses of a step, ``(batch,)`` where they live, and does not wait
    for them in most steps. Its state is part of checkpoints.
    """

    def __call__(self, n: int, schedule: Schedule, generator: torch.Generator | None = None) -> Tensor:
        """Return ``n`` times in [0, 1], float64 on the host, drawn with ``generator``.

        One with an attribute ``per_frame`` that is true returns ``(n, frames)``, for networks that take them.
        """
        ...


@runtime_checkable
class Noise(Protocol):
    """A noise of zero mean and unit variance, of which the forward process adds σ times.

    Two attributes say what else is so; a noise without them counts as standard normal. ``gaussian``: all values are
    independent and standard normal, as likelihoods need. ``stable``: the sum of independent draws a ε and b ε' is a
    draw of √(a² + b²) ε, as samplers that add noise on the way need; normal noise is, correlated or not. What an
    attribute denies is refused where it is needed.
    """

    def __call__(
        self, shape: tuple[int, ...], generator: torch.Generator | None = None, device: torch.device | str = "cpu"
    ) -> Tensor:
        """Return float32 noise ``(batch, channels, *spatial)``."""
        ...
