"""The denoiser of tokens: network + schedule + process = the chances of each clean token at any noise level.

The variational bound in continuous time is an integral over λ, the same under every schedule,

    -log p(x_0) ≤ ∫ E[Σ_i divergence_i] dλ,

over all levels: at one end the process has reached π, and at the other it is clean, so that no other term remains.
Training draws the levels at which this is best estimated (see ``levels.py``) and has no use for a schedule.
"""

from typing import Any

import torch
from torch import Tensor, nn

from diffkit import DiffkitError, Level, build
from diffkit.contracts.schedule import Schedule
from diffkit_discrete.contracts import Process
from diffkit_discrete.levels import bound_weight, spread_keep


class DiscreteDenoiser(nn.Module):
    """log p(x_0 | x_t) of every token from a network, under any schedule.

    Args:
        net: maps ``(x, λ, **cond)`` to logits ``(batch, classes, *shape)``: a :class:`~diffkit_discrete.TokenNetwork`.
        schedule: the noise schedule for sampling, or the name of an installed one. Training does not depend on it.
        process: how tokens are lost.
    """

    schedule: Schedule

    def __init__(self, net: nn.Module, schedule: Schedule | str, process: Process) -> None:
        super().__init__()
        self.net, self.process = net, process
        self.schedule = build("schedule", schedule) if isinstance(schedule, str) else schedule
        self.evaluations = 0

    def forward(self, x: Tensor, at: Level | Tensor | float, **cond: Tensor) -> Tensor:
        """Return log p(x_0 | x_t = x), ``(batch, classes, *shape)``; see :class:`~diffkit_discrete.TokenDenoise`."""
        if isinstance(at, Level):
            return self._log_p(x, at.tensor.expand(len(x)), cond)
        lam = self.schedule.lam(torch.as_tensor(at, dtype=torch.float64, device="cpu").expand(len(x)))
        return self._log_p(x, lam.to(x.device, torch.float32, non_blocking=True), cond)

    def _log_p(self, x: Tensor, lam: Tensor, cond: dict[str, Any]) -> Tensor:
        self.evaluations += 1
        logits = self.net(x, lam, **cond)
        expected = (len(x), self.process.classes, *x.shape[1:])
        if logits.shape != expected:
            raise DiffkitError(
                f"the network returns {tuple(logits.shape)} for tokens {tuple(x.shape)} of {self.process.classes} "
                f"classes; it has to return logits {expected}"
            )
        return logits.log_softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32))

    def loss(self, x0: Tensor, *, keep: Tensor | None = None, x: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return the mean of :meth:`losses`, a scalar to call ``backward`` on."""
        return self.losses(x0, keep=keep, x=x, **cond).mean()

    def losses(self, x0: Tensor, *, keep: Tensor | None = None, x: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return an unbiased estimate of each item's bound, in nats a token, ``(batch,)``.

        Args:
            x0: clean tokens ``(batch, *shape)``, any integers from 0 to ``classes - 1``.
            keep: a, ``(batch,)``, float64 on the host, drawn as :meth:`draw_keep` does; drawn where not given.
            x: noisy tokens at those levels; drawn where not given.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        x0 = self._checked(x0)
        if keep is None:
            keep = self.draw_keep(len(x0))
        table = torch.stack((keep, keep.logit() / 2, bound_weight(keep)))
        a, lam, weight = table.to(x0.device, torch.float32, non_blocking=True)
        if x is None:
            x = self.process.corrupt(x0, a, torch.randn(len(x0), 2, *x0.shape[1:], device=x0.device))
        log_p = self._log_p(x, lam, cond)
        return weight * self.process.divergence(x0, x, log_p, lam).flatten(1).mean(1)

    def draw_keep(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return ``n`` values of a, each with √(1 - a) uniform and together evenly spread, float64 on the host."""
        offset = torch.rand((), generator=generator, dtype=torch.float64)
        return spread_keep((offset + torch.arange(n, dtype=torch.float64) / n) % 1)

    def _checked(self, x0: Tensor) -> Tensor:
        """Return tokens as int64. Where looking at them would make a device wait, the network is left to complain."""
        if x0.is_floating_point():
            raise DiffkitError(f"tokens are integers, and these are {x0.dtype}; give x0.long() if they are whole")
        x0 = x0.long()
        if x0.device.type == "cpu" and x0.numel() and not 0 <= x0.min() <= x0.max() < self.process.classes:
            raise DiffkitError(
                f"tokens run from {x0.min()} to {x0.max()}, and the process has classes={self.process.classes}; "
                f"number them from 0, or give it classes={int(x0.max()) + 1}"
            )
        return x0
