"""Classifier guidance."""

from collections.abc import Callable

import torch
from torch import Tensor

from diffkit import DiffkitError, Level
from diffkit.contracts.sampling import Denoise, innermost
from diffkit_samplers.guidance.guided import Guided, check_scale

LogProb = Callable[..., Tensor]


class Classifier:
    """D + scale (σ²/α) ∇ log p(y | x_t), with a classifier of noisy data.

    By Bayes' rule and Tweedie's formula that is, for an exact classifier and scale 1, the denoiser of p(x | y).

    Dhariwal & Nichol, "Diffusion Models Beat GANs on Image Synthesis" (2021), section 4.1. The model is not told y: it
    gets the null condition. From Python only, as a classifier is no word.

    Args:
        log_prob: ``log_prob(x, at, **cond)`` returns log p(y | x_t = x) at level ``at``, ``(batch,)``, differentiably.
        scale: the weight of the classifier; 0 is the model of any label.
    """

    def __init__(self, log_prob: LogProb, scale: float = 1.0) -> None:
        check_scale(scale)
        self.log_prob, self.scale = log_prob, scale

    def __call__(self, denoiser: Denoise) -> Denoise:
        """Return the guided denoiser.

        Raises:
            DiffkitError: where the model's noise is not independent and normal, on which the formula rests.
        """
        noise = getattr(innermost(denoiser), "noise", None)
        if not getattr(noise, "gaussian", True):
            raise DiffkitError(
                f"the model was trained with {type(noise).__name__}, and guidance by a classifier needs independent "
                f"normal noise; train with noise=normal"
            )
        return Guided(denoiser, self._estimate)

    def _estimate(self, denoiser: Denoise, x: Tensor, at: Level, cond: dict[str, Tensor]) -> Tensor:
        x0 = denoiser(x, at, **denoiser.null(cond))
        if self.scale == 0:
            return x0
        wanted = torch.is_grad_enabled()  # where the estimate is to be differentiated, this is a part of it
        with torch.enable_grad():
            noisy = x if wanted and x.requires_grad else x.detach().requires_grad_()
            (slope,) = torch.autograd.grad(self.log_prob(noisy, at, **cond).sum(), noisy, create_graph=wanted)
        return torch.add(x0, slope, alpha=self.scale * at.sigma**2 / at.alpha)
