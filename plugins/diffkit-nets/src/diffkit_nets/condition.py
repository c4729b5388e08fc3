"""What every network here is told besides the data: the noise level λ and the class, as one vector an item."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from diffkit import DataSpec, DiffkitError

BOUND = 20.0
"""λ beyond this is told as this: no network can tell such levels apart, and a schedule may well reach infinity."""


class Condition(nn.Module):
    """Embeds λ and the label: a vector ``(batch, width)`` that has passed its last nonlinearity.

    λ = log(α/σ) enters as cos(ωλ) and sin(ωλ) for angular frequencies ω from 1/16 to 2, so that a change of λ by 0.1
    is a small change and the range of ±10 does not wrap around. Labels enter by a table with one row a class and a last
    one for the null label, which stands for "any" and is what a missing label means. While training, labels are
    replaced by it at random, so that one network learns both what guidance compares (Ho & Salimans, "Classifier-Free
    Diffusion Guidance", 2022). Without labels there is no table.

    Args:
        spec: what the network models.
        width: the length of the vector.
        label_dropout: the share of training labels that are replaced by the null label.
        frequencies: how many ω.
    """

    omega: Tensor

    def __init__(self, spec: DataSpec, width: int, label_dropout: float = 0.1, frequencies: int = 32) -> None:
        super().__init__()
        if not 0 <= label_dropout <= 1:
            raise DiffkitError(f"label_dropout={label_dropout} is not a share; give 0 to 1, such as label_dropout=0.1")
        self.label_dropout, self.null = label_dropout, len(spec.labels)
        omega = torch.linspace(log(1 / 16), log(2), frequencies).exp()
        self.register_buffer("omega", omega, persistent=False)
        self.level = nn.Linear(2 * frequencies, width)
        self.classes = nn.Embedding(len(spec.labels) + 1, width) if spec.labels else None
        self.joint = nn.Linear(width, width)

    def forward(self, lam: Tensor, label: Tensor | None = None) -> Tensor:
        """Return the vectors ``(batch, width)`` of levels ``lam`` ``(batch,)`` and labels ``(batch,)``, int64."""
        phase = lam.clamp(-BOUND, BOUND)[:, None] * self.omega
        h = self.level(torch.cat((phase.cos(), phase.sin()), 1))
        if self.classes is not None:
            h = h + self.classes(self._labels(lam, label))
        return silu(self.joint(silu(h)))

    def _labels(self, lam: Tensor, label: Tensor | None) -> Tensor:
        if label is None:
            return torch.full(lam.shape, self.null, dtype=torch.int64, device=lam.device)
        if self.training and self.label_dropout > 0:
            dropped = torch.rand(label.shape, device=label.device) < self.label_dropout
            return label.masked_fill(dropped, self.null)
        return label
