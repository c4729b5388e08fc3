"""Times that come as often as their losses are large."""

import torch
from torch import Generator, Tensor, nn

from diffkit import DiffkitError
from diffkit.contracts.schedule import Schedule


class AdaptiveTimes(nn.Module):
    """Times drawn by importance: the loss keeps its mean, that over uniform times, and has a smaller variance.

    A time of density q(t) has its loss divided by q. The variance of that is least where q is proportional to the root
    of E[loss² | t] (Nichol & Dhariwal, "Improved Denoising Diffusion Probabilistic Models", 2021, eq. 18), which is
    estimated in equal parts of [0, 1] from the losses of training; a share of all times stays uniform, so that no part
    is forgotten and no loss is divided by less than that.

    Losses are added up where they are, and asked for once in ``every`` items. Old ones fade: what was added up counts
    half each time it is asked for. Of several ranks, each goes by the losses it has seen.

    Args:
        parts: of how many parts each has its own density.
        uniform: the share of times that stay uniform, above 0.
        every: after how many items the density is changed.
    """

    tally: Tensor

    def __init__(self, parts: int = 64, uniform: float = 0.1, every: int = 8192) -> None:
        super().__init__()
        if parts < 1 or every < 1:
            raise DiffkitError(
                f"parts={parts} and every={every} are not both numbers; give 1 or more, such as parts=64"
            )
        if not 0 < uniform <= 1:
            raise DiffkitError(
                f"uniform={uniform} is not a share of times; give one above 0 up to 1, such as uniform=0.1"
            )
        self.parts, self.uniform, self.every = parts, uniform, every
        self.register_buffer("tally", torch.zeros(2, parts))
        self.density = torch.ones(parts, dtype=torch.float64)  # on the host, where times are drawn
        self.seen = 0

    def forward(self, n: int, schedule: Schedule, generator: Generator | None = None) -> Tensor:
        """Return ``n`` times, float64 on the host."""
        if self.seen >= self.every:
            self._adapt()
        reached = self.density.cumsum(0) / self.parts
        u = torch.rand(n, generator=generator, dtype=torch.float64) * reached[-1]
        part = torch.searchsorted(reached, u, right=True).clamp(max=self.parts - 1)
        left = (reached[part] - u) * self.parts / self.density[part]
        return ((part + 1 - left) / self.parts).clamp(0, 1)

    def importance(self, t: Tensor) -> Tensor:
        """Return what the losses of times ``t`` are multiplied by: 1/q(t)."""
        return 1 / self.density[self._part(t)]

    def observe(self, t: Tensor, losses: Tensor) -> None:
        """Remember the losses of times ``t``, multiplied by their importance as they are, each ``(batch,)``."""
        part, weight = self._part(t), self.importance(t).to(self.tally)
        within = (part[:, None] == torch.arange(self.parts)).to(self.tally, non_blocking=True)
        squares = (losses.detach().to(self.tally) / weight).square()
        self.tally += torch.stack((squares, torch.ones_like(squares))) @ within
        self.seen += len(t)

    def _part(self, t: Tensor) -> Tensor:
        return (t * self.parts).long().clamp(0, self.parts - 1)

    def _adapt(self) -> None:
        squares, counts = self.tally.to("cpu", torch.float64)
        visited = counts > 0
        wanted = (squares / counts.clamp(min=1e-9)).sqrt()
        mean = wanted[visited].mean()
        if bool(mean > 0) and bool(mean.isfinite()):
            wanted = torch.where(visited, wanted, mean)
            self.density = self.uniform + (1 - self.uniform) * wanted / wanted.mean()
            self.tally *= 0.5
        else:
            self.tally.zero_()
        self.seen = 0

    def get_extra_state(self) -> Tensor:
        """Return what lives on the host: the densities, and how many items were seen since they changed."""
        return torch.cat((self.density, self.density.new_tensor([self.seen])))

    def set_extra_state(self, state: Tensor) -> None:
        """Take over what :meth:`get_extra_state` returned."""
        self.density, self.seen = state[:-1].to("cpu", torch.float64), int(state[-1])
