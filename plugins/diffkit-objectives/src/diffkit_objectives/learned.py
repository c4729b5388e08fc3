"""A weighting that learns how large the error is at each level."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DataSpec, DiffkitError, build
from diffkit.contracts.objective import Weighting

REACH = 12.0
"""Levels are told apart from λ = -12 to 12."""
TERMS = 32


class LearnedWeighting(nn.Module):
    """The loss of an item of weighted error e becomes e / exp(u(λ)) + u(λ), with u learned beside the network.

    The loss is least at u = log E[e | λ], the log of the mean error at that level: then every level counts alike
    whatever its error, as if each were a task of its own. u is a cosine series of 32 terms over λ from -12 to 12, which
    starts at 0. Karras et al., "Analyzing and Improving the Training Dynamics of Diffusion Models" (2024), appendix
    B.2, after Kendall et al., "Multi-Task Learning Using Uncertainty to Weigh Losses" (2018).

    Args:
        base: the weighting that gives e: its name, a mapping of its name and options, or itself; one that keeps e near
            1, as ``edm`` does.
        spec: what the network models.
    """

    def __init__(self, base: str | Mapping[str, Any] | Weighting = "edm", spec: DataSpec | None = None) -> None:
        super().__init__()
        self.base: Weighting = build("weighting", base, spec=spec) if isinstance(base, str | Mapping) else base
        if hasattr(self.base, "balance"):
            raise DiffkitError(f"base={base} learns weights itself; give another, such as base=edm")
        self.terms = nn.Parameter(torch.zeros(TERMS))
        self.register_buffer("orders", torch.arange(TERMS) * torch.pi, persistent=False)

    def forward(self, lam: Tensor) -> Tensor:
        """Return the weights of levels ``lam`` that give e."""
        return self.base(lam)

    def log_error(self, lam: Tensor) -> Tensor:
        """Return u at levels ``lam`` of any shape, where the parameters live."""
        place = lam.to(self.terms).clamp(-REACH, REACH) / (2 * REACH) + 0.5
        return (torch.cos(place[..., None] * self.orders) * self.terms).sum(-1)

    def balance(self, losses: Tensor, lam: Tensor) -> Tensor:
        """Return e / exp(u) + u for weighted errors e = ``losses`` at levels ``lam``, of the same shape."""
        u = self.log_error(lam)
        return losses * torch.exp(-u) + u
