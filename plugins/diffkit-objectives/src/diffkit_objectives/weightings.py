"""What the loss emphasises: weights on the squared error of x_0 by λ, with SNR = exp(2λ) = α²/σ².

An error of x_0 is one of c_out times less in the network's output, so w on the one is w c_out² on the other. The
denoiser converts; a weighting is written once and means the same loss for every prediction.
"""

from collections.abc import Mapping
from math import exp
from typing import Any

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.schedule import Schedule
from diffkit_objectives.predictions import data_std


class UniformWeighting:
    """w = 1: the squared error of x_0."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.ones_like(lam)


class SNRWeighting:
    """w = SNR: the squared error of ε, the "simple" loss of Ho et al. (2020)."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam)


class TruncatedSNRWeighting:
    """w = max(SNR, 1): the larger of the errors of x_0 and of ε.

    Salimans & Ho, "Progressive Distillation for Fast Sampling of Diffusion Models" (2022), section 4.
    """

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam).clamp(min=1)


class MinSNRWeighting:
    """w = min(SNR, γ). Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy" (2023).

    Args:
        gamma: γ, the largest weight.
    """

    def __init__(self, gamma: float = 5.0) -> None:
        self.gamma = largest_weight(gamma)

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam).clamp(max=self.gamma)


class SoftMinSNRWeighting:
    """w = γ SNR / (SNR + γ): ``min_snr`` without its corner.

    Crowson et al., "Scalable High-Resolution Pixel-Space Image Synthesis with Hourglass Diffusion Transformers" (2024),
    section 3.5. It is ``sigmoid`` with b = log γ.

    Args:
        gamma: γ, what the weight levels off at.
    """

    def __init__(self, gamma: float = 4.0) -> None:
        self.gamma = largest_weight(gamma)

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return 1 / (torch.exp(-2 * lam) + 1 / self.gamma)


class P2Weighting:
    """w = SNR / (k + SNR)^γ: less weight where there is little noise, for the sake of what is seen from further off.

    Choi et al., "Perception Prioritized Training of Diffusion Models" (2022), eq. 8, who put 1 / (k + SNR)^γ on the
    error of ε.

    Args:
        gamma: γ; 0 is ``snr``.
        k: k, about the SNR at which the weight turns over.
    """

    def __init__(self, gamma: float = 1.0, k: float = 1.0) -> None:
        if not 0 <= gamma < float("inf"):
            raise DiffkitError(f"gamma={gamma} is not an exponent; give a number of 0 or more, such as gamma=1")
        if not 0 < k < float("inf"):
            raise DiffkitError(f"k={k} is not an SNR; give a number above 0, such as k=1")
        self.gamma, self.k = gamma, k

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        snr = torch.exp(2 * lam)
        return snr / (self.k + snr) ** self.gamma


class ELBOWeighting:
    """The evidence lower bound: the diffusion loss L = ∫ SNR |x_0 - D|² dλ from the noisiest level to the cleanest.

    Kingma et al., "Variational Diffusion Models" (2021), eq. 17 and 18, where L = ½ ∫ |x_0 - D|² dSNR. A weighting sees
    λ, so what it has to be depends on how λ is drawn. Where times are uniform in λ (``times=uniform_lam``) it is

        w = SNR,

    and the mean loss is L per value of the data, over λ(0) - λ(1). Where t is uniform (``uniform``, ``stratified``), it
    is

        w = SNR |dλ/dt|

    for the schedule that is trained under, and the mean loss is L per value, in nats.

    Args:
        schedule: the schedule where t is uniform: its name, a mapping of its name and options, or itself; none where
            λ is uniform.
        spec: what the network models.
    """

    def __init__(
        self, schedule: str | Mapping[str, Any] | Schedule | None = None, spec: DataSpec | None = None
    ) -> None:
        self.schedule: Schedule | None = (
            build("schedule", schedule, spec=spec) if isinstance(schedule, str | Mapping) else schedule
        )

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        snr = torch.exp(2 * lam)
        return snr if self.schedule is None else snr * slope(self.schedule, self.schedule.time(lam)).abs()


class EDMWeighting:
    """w = SNR + 1/s²: one over c_out² of EDM, so that its network's output is weighed equally at all levels.

    Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models" (2022), table 1.

    Args:
        sigma_data: the standard deviation s of the data; that of the spec where none is given, 1 without a spec.
        spec: what the network models.
    """

    def __init__(self, sigma_data: float | None = None, spec: DataSpec | None = None) -> None:
        self.sigma_data = data_std(sigma_data, spec)

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return torch.exp(2 * lam) + self.sigma_data**-2


class FlowWeighting:
    """w = (1 + α/σ)²: the squared error of the flow ε - x_0. Lipman et al., "Flow Matching" (2022)."""

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``."""
        return (1 + torch.exp(lam)) ** 2


class SigmoidWeighting:
    """w = SNR sigmoid(b - log SNR), which goes from SNR where there is noise to exp(b) where there is none.

    Kingma & Gao, "Understanding Diffusion Objectives as the ELBO with Simple Data Augmentation" (2023), section 5, who
    put sigmoid(b - log SNR) on the error of ε.

    Args:
        bias: b, the log SNR at which the weight turns over.
    """

    def __init__(self, bias: float = 2.0) -> None:
        if not abs(bias) <= 100:
            raise DiffkitError(f"bias={bias} is not a log SNR; give a number between -100 and 100, such as bias=2")
        self.bias = bias

    def __call__(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam``, as exp(b) sigmoid(log SNR - b), which does not overflow."""
        return exp(self.bias) * torch.sigmoid(2 * lam - self.bias)


def slope(schedule: Schedule, t: Tensor) -> Tensor:
    """Return dλ/dt at times ``t``."""
    with torch.enable_grad():
        t = t.detach().requires_grad_()
        return torch.autograd.grad(schedule.lam(t).sum(), t)[0]


def largest_weight(gamma: float) -> float:
    """Return ``gamma``, which has to be above 0."""
    if not gamma > 0:
        raise DiffkitError(f"gamma={gamma} is not a largest weight; give a number above 0, such as gamma=5")
    return gamma
