"""Denoisers given an observation y = A x₀ + σ_y ε: guidances that any sampler can follow.

By Bayes and Tweedie, exactly,

    E[x₀ | x_t, y] = D(x_t) + σ²/α ∇ log p(y | x_t),        p(y | x_t) = ∫ p(y | x₀) p(x₀ | x_t) dx₀,

and the methods differ in what they take p(x₀ | x_t) for: a point, or a little more (DPS), a ball (ΠGDM, and DDNM,
which leaves out the denoiser's Jacobian), or a normal distribution with its true covariance V = σ²/α ∂D/∂x (MMPS).
"""

from collections.abc import Callable
from math import isfinite
from typing import Any

import torch
from torch import Tensor

from diffkit import DiffkitError, Level
from diffkit.contracts.sampling import Denoise
from diffkit.contracts.schedule import Schedule
from diffkit_inference.ends import data_std, refuse_other_noise
from diffkit_inference.krylov import minimal_residuals
from diffkit_inference.operators import Operator

Function = Callable[[Tensor], Tensor]


class Observed:
    """A guidance by an observation: inherit and write :meth:`estimate`.

    Args:
        operator: A.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
    """

    needs_linear = True
    """Whether the operator has to be linear, or may be any function."""

    def __init__(self, operator: Operator | Function, y: Tensor, noise: float = 0.0) -> None:
        if not (noise >= 0 and isfinite(noise)):
            raise DiffkitError(f"noise={noise} is not the standard deviation of an observation; give 0 or more")
        if self.needs_linear and not isinstance(operator, Operator):
            raise DiffkitError(
                f"{type(self).__name__} needs a linear operator, with forward, adjoint and solve; for a function of "
                f"the data choose PiGDM or DPS"
            )
        self.operator: Any = operator
        self.y, self.noise = y, noise

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the denoiser that knows of the observation."""
        refuse_other_noise(denoiser, "an observation")
        return _Given(denoiser, self)

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return E[x₀ | x_t = x, y].

        Args:
            denoiser: the model that does not know of the observation.
            x: the sample ``(batch, channels, *shape)`` at level ``at``.
            at: the noise level.
            cond: conditions for the denoiser.
        """
        raise NotImplementedError(f"{type(self).__name__} has no estimate; define estimate()")

    def missing(self, x0: Tensor) -> Tensor:
        """Return y - A x₀, what an estimate leaves of the observation unexplained."""
        seen = self.operator.forward(x0) if isinstance(self.operator, Operator) else self.operator(x0)
        if len(self.y) not in (1, len(x0)) or self.y.shape[1:] != seen.shape[1:]:
            raise DiffkitError(
                f"the observation has shape {tuple(self.y.shape)}, but the operator makes {tuple(seen.shape)} of "
                f"the samples; give one for each sample, or one for all (1, …)"
            )
        return self.y.to(seen) - seen


class _Given:
    """The denoiser that an :class:`Observed` returns."""

    def __init__(self, denoiser: Denoise, observed: Observed) -> None:
        self.denoiser, self.observed = denoiser, observed
        self.schedule: Schedule = denoiser.schedule

    def of(self, model: Denoise) -> Denoise:
        """Return another model that knows of the observation."""
        return _Given(model, self.observed)

    def null(self, cond: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return the condition that stands for "any"."""
        return self.denoiser.null(cond)

    def __call__(self, x: Tensor, at: Level, **cond: Tensor) -> Tensor:
        """Return the estimate of the clean data given the observation."""
        return self.observed.estimate(self.denoiser, x, at, cond)


class DDNM(Observed):
    """The estimate put right where it was observed: D + r² Aᵀ (r² A Aᵀ + σ_y² I)⁻¹ (y - A D).

    Without noise in y that is A⁺ y + (I - A⁺ A) D, the range-null-space decomposition of Wang, Yu & Zhang, "Zero-Shot
    Image Restoration Using Denoising Diffusion Null-Space Model" (2023), section 3. With noise it is the mean of a ball
    N(D, r² I) given y, where the paper scales the correction singular value by singular value. Costs no more than D.

    Args:
        operator: A.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
        std: the standard deviation c of the data, for r² = c² σ² / (c² α² + σ²); the model's own where none is given.
    """

    def __init__(self, operator: Operator | Function, y: Tensor, noise: float = 0.0, std: float | None = None) -> None:
        super().__init__(operator, y, noise)
        self.std = std

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate of the clean data given the observation."""
        x0 = denoiser(x, at, **cond)
        gain = ball(data_std(denoiser, self.std), at)
        return x0 + gain * self.operator.adjoint(self.operator.solve(self.missing(x0), gain, self.noise**2))


class PiGDM(DDNM):
    """D + σ²/α Jᵀ Aᵀ (r² A Aᵀ + σ_y² I)⁻¹ (y - A D), J the Jacobian of D: the data taken for a ball N(D, r² I).

    Song et al., "Pseudoinverse-Guided Diffusion Models for Inverse Problems" (2023), section 3, with r² for data of
    standard deviation c in place of 1. Exact for data N(m, c² I). Costs an evaluation and a backward pass.

    Of a function A, g = A'ᵀ (y - A(D)) is found by differentiation, and A' A'ᵀ is taken for ‖g‖²/‖y - A(D)‖², which
    it is along the residual.

    Args:
        operator: an operator, or a function of data ``(batch, channels, *shape)`` that torch can differentiate.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
        std: the standard deviation c of the data, for r² = c² σ² / (c² α² + σ²); the model's own where none is given.
    """

    needs_linear = False

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate of the clean data given the observation."""
        x0, pulled = recorded(denoiser, x, at, cond)
        gain = ball(data_std(denoiser, self.std), at)
        if isinstance(self.operator, Operator):
            return x0 + pulled(self.operator.adjoint(self.operator.solve(self.missing(x0), gain, self.noise**2)))
        return x0 + pulled(self._along(x0, gain))

    def _along(self, x0: Tensor, gain: float) -> Tensor:
        with torch.enable_grad():
            x0 = x0.detach().requires_grad_()
            left = self.missing(x0).square().flatten(1).sum(1)
            (gradient,) = torch.autograd.grad(left.sum() / 2, x0)
        tiny = torch.finfo(x0.dtype).tiny
        steep = gradient.square().flatten(1).sum(1) / left.detach().clamp_min(tiny)
        return -gradient / (gain * steep + self.noise**2).clamp_min(tiny).reshape(-1, *[1] * (x0.ndim - 1))


class MMPS(Observed):
    """D + V Aᵀ (A V Aᵀ + σ_y² I)⁻¹ (y - A D) with V = σ²/α Jᵀ, J the Jacobian of D, by minimal residuals.

    Moment-matching posterior sampling: the data is taken for N(D, V), whose mean and covariance are the true ones.
    Rozet et al., "Learning Diffusion Priors from Observations by Expectation Maximization" (2024), section 4.2. Exact
    for normal data of any covariance. Costs an evaluation and ``iterations + 1`` backward passes.

    Args:
        operator: A; only A and Aᵀ are used.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
        iterations: of GMRES; exact from as many as an observation has values.
    """

    def __init__(self, operator: Operator, y: Tensor, noise: float = 0.0, iterations: int = 5) -> None:
        super().__init__(operator, y, noise)
        if iterations < 1:
            raise DiffkitError(f"iterations={iterations} solve nothing; give 1 or more, such as iterations=5")
        self.iterations = iterations

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate of the clean data given the observation."""
        x0, pulled = recorded(denoiser, x, at, cond)

        def spread(v: Tensor) -> Tensor:
            return self.operator.forward(pulled(self.operator.adjoint(v))) + self.noise**2 * v

        return x0 + pulled(self.operator.adjoint(minimal_residuals(spread, self.missing(x0), self.iterations)))


class DPS(Observed):
    """D - σ²/(α v) ∇ ½‖y - A(D)‖² with v = σ_y² + spread · r², for any differentiable A, linear or not.

    Chung et al., "Diffusion Posterior Sampling for General Noisy Inverse Problems" (2023), theorem 1, take the data for
    the point D, so that v = σ_y² and ``spread`` is 0. That forgets how uncertain D is and overshoots, unless a step
    size is found for every problem. Rozet & Louppe, "Score-based Data Assimilation" (2023), add to v in proportion to
    what the noise leaves unknown, here r² = c² σ² / (c² α² + σ²); 1 is :class:`PiGDM` where A Aᵀ = I, as for masks and
    projections. Costs an evaluation and a backward pass.

    Args:
        operator: an operator, or a function of data ``(batch, channels, *shape)`` that torch can differentiate.
        y: the observation, ``(batch, …)``, or one for all samples, ``(1, …)``.
        noise: its standard deviation σ_y.
        spread: about the square of what A multiplies a small change of the data by; less follows y closer.
        std: the standard deviation c of the data; the model's own where none is given.
    """

    needs_linear = False

    def __init__(
        self,
        operator: Operator | Function,
        y: Tensor,
        noise: float = 0.0,
        spread: float = 1.0,
        std: float | None = None,
    ) -> None:
        super().__init__(operator, y, noise)
        if not (spread >= 0 and isfinite(spread)) or spread == noise == 0:
            raise DiffkitError(f"spread={spread} beside noise={noise} leaves no room for an error; give spread=1")
        self.spread, self.std = spread, std

    def estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        """Return the estimate of the clean data given the observation."""
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            x0 = denoiser(x, at, **cond)
            (gradient,) = torch.autograd.grad(self.missing(x0).square().sum() / 2, x)
        v = self.noise**2 + self.spread * ball(data_std(denoiser, self.std), at)
        return torch.add(x0.detach(), gradient, alpha=-(at.sigma**2) / at.alpha / v)


def ball(c: float, at: Level) -> float:
    """Return r², the variance of data of standard deviation ``c`` that is left once x_t is known, were it normal."""
    return (c * at.sigma) ** 2 / ((c * at.alpha) ** 2 + at.sigma**2)


def recorded(
    denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]
) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return D(x) and the function v ↦ σ²/α Jᵀ v, which costs a backward pass a call."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        x0 = denoiser(x, at, **cond)

    def pulled(v: Tensor) -> Tensor:
        (product,) = torch.autograd.grad(x0, x, v, retain_graph=True)
        return at.sigma**2 / at.alpha * product

    return x0.detach(), pulled
