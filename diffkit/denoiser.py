"""The denoiser: network + schedule + prediction = an estimate of the clean data at any noise level.

With F the network, the estimate is D(x, t) = c_skip x + c_out F(c_in x, λ). From it follow exactly

    ε = (x - α D) / σ,        score = (α D - x) / σ²,        x_t = α x_0 + σ ε.

Training draws t and ε and regresses F on its target. Put x_0 for D and x_t for x, and the target is

    F* = a x_0 + b ε,    a = (1 - c_skip α) / c_out,    b = -c_skip σ / c_out,

which is ε, v, u or x_0 itself for the predictions of those names. A weight w(λ) on the squared error of x_0 is a
weight w c_out² on that of F.
"""

from typing import Any

import torch
from torch import Tensor, nn

from diffkit.catalog import build
from diffkit.contracts.network import DataSpec
from diffkit.contracts.objective import Noise, Prediction, Times, Weighting
from diffkit.contracts.schedule import Level, Schedule

_ZERO = torch.zeros(())


class Denoiser(nn.Module):
    """E[x_0 | x_t] from a network, under any schedule and any prediction.

    Args:
        net: maps ``(c_in x, λ, **cond)`` to an output of the shape of ``x``.
        schedule: the noise schedule, or the name of an installed one. It may be exchanged after training.
        prediction: what the network's output means, or its name.
        weighting: the weight of the loss by noise level; none weighs the network's output equally at all of them.
        times: which times training visits; none draws them uniformly.
        noise: the noise of the forward process; none is standard normal.
        spec: what the network models; ``net.spec`` where there is one.

    Attributes:
        evaluations: how often the network was asked for an estimate so far.
        items: of how many items in all; guidance that doubles a batch asks once for two of each sample.
    """

    schedule: Schedule

    def __init__(
        self,
        net: nn.Module,
        schedule: Schedule | str,
        prediction: Prediction | str,
        *,
        weighting: Weighting | str | None = None,
        times: Times | str | None = None,
        noise: Noise | str | None = None,
        spec: DataSpec | None = None,
    ) -> None:
        super().__init__()
        self.net = net
        self.spec: DataSpec | None = spec if spec is not None else getattr(net, "spec", None)
        self.schedule = self._component("schedule", schedule)
        self.prediction: Prediction = self._component("prediction", prediction)
        self.weighting: Weighting | None = self._component("weighting", weighting)
        self.times: Times | None = self._component("times", times)
        self.noise: Noise | None = self._component("noise", noise)
        self.evaluations = self.items = 0

    def _component(self, kind: str, value: Any) -> Any:
        return build(kind, value, spec=self.spec) if isinstance(value, str) else value

    def forward(self, x: Tensor, at: Level | Tensor | float, **cond: Tensor) -> Tensor:
        """Return E[x_0 | x_t = x], of the shape of ``x``.

        Args:
            x: noisy data ``(batch, channels, *shape)``.
            at: a noise :class:`~diffkit.Level`, as samplers pass it, or a time in [0, 1]: a float, or a tensor
                ``(batch,)``.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        counts, n = self.__dict__, x.shape[0]  # a module sets an attribute in the time that a small layer takes
        counts["evaluations"] += 1
        counts["items"] += n
        if isinstance(at, Level):
            c_skip, c_out, c_in = self.prediction.coefficients(at.alpha, at.sigma)
            lam = at.tensor.expand(n)
            if not isinstance(c_in, Tensor):
                return torch.add(_scaled(x, c_skip), self.net(_scaled(x, c_in), lam, **cond), alpha=c_out)
            table = torch.stack((c_skip, c_out, c_in))[:, None].to(x, non_blocking=True)  # one for each channel
        else:
            t = torch.as_tensor(at, dtype=torch.float64).expand(n)
            table = _rows(t, *self.prediction.coefficients(self.schedule.alpha(t), self.schedule.sigma(t))).to(x)
            lam = self.schedule.lam(t).to(x)
        skip, out, inner = _columns(table, x.ndim)
        return skip * x + out * self.net(inner * x, lam, **cond)

    def loss(self, x0: Tensor, *, t: Tensor | None = None, noise: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return the mean weighted squared error on clean data, a scalar to call ``backward`` on.

        Args:
            x0: clean data ``(batch, channels, *shape)``.
            t: times ``(batch,)``, float64 on the host; drawn where not given.
            noise: unit-variance noise of the shape of ``x0``; drawn where not given.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        return self.losses(x0, t=t, noise=noise, **cond).mean()

    def losses(self, x0: Tensor, *, t: Tensor | None = None, noise: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return the loss of each item, ``(batch,)``: its weighted squared error, balanced where the weighting learns.

        While training, it is multiplied by the importance of its time, where times are drawn by importance.
        See :meth:`loss`.
        """
        if t is None:
            t = self.draw_times(len(x0))
        if noise is None:
            noise = self.draw_noise(x0)
        table = self._training_table(t).to(x0, non_blocking=True)
        alpha, sigma, c_in, a, b = _columns(table[:5], x0.ndim)
        lam, weight = table[5, :, 0], table[6]
        output = self.net(c_in * (alpha * x0 + sigma * noise), lam, **cond)
        error = output.to(x0.dtype) - (a * x0 + b * noise)
        if weight.shape[1] == 1:
            losses = weight[:, 0] * error.square().flatten(1).mean(1)
        else:
            losses = (_columns(weight, x0.ndim) * error.square()).flatten(1).mean(1)
        balance = getattr(self.weighting, "balance", None)
        losses = losses if balance is None else balance(losses, lam)
        importance = getattr(self.times, "importance", None) if self.training else None
        return losses if importance is None else losses * importance(t).to(losses, non_blocking=True)

    def _training_table(self, t: Tensor) -> Tensor:
        """Return α, σ, c_in, a, b, λ and the weight, ``(7, batch, 1)``, or one for each channel as the last axis."""
        alpha, sigma, lam = self.schedule.alpha(t), self.schedule.sigma(t), self.schedule.lam(t)
        c_skip, c_out, c_in = _rows(t, *self.prediction.coefficients(alpha, sigma))
        alpha, sigma, lam = _rows(t, alpha, sigma, lam)
        a, b = (1 - c_skip * alpha) / c_out, -c_skip * sigma / c_out
        weight = torch.ones_like(c_out) if self.weighting is None else self.weighting(lam) * c_out**2
        return _rows(t, alpha, sigma, c_in, a, b, lam, weight)

    def draw_times(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Return ``n`` training times, float64 on the host."""
        if self.times is None:
            return torch.rand(n, generator=generator, dtype=torch.float64)
        return self.times(n, self.schedule, generator)

    def draw_noise(self, x0: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return noise for ``x0``, on its device; ``generator`` lives there too."""
        if self.noise is None:
            return torch.randn(x0.shape, generator=generator, device=x0.device, dtype=x0.dtype)
        return self.noise(tuple(x0.shape), generator, x0.device).to(x0.dtype)

    def null(self, cond: dict[str, Tensor], items: Tensor | None = None) -> dict[str, Tensor]:
        """Return ``cond`` with every label, and every other condition that the spec names, replaced by a missing one.

        The null label is ``len(spec.labels)``.

        Args:
            cond: conditions, each ``(batch, ...)``.
            items: of which items, bool ``(batch,)``; of all where none is given.
        """
        missing: dict[str, float] = {"label": len(self.spec.labels) if self.spec else 0}
        conditions = self.spec.conditions if self.spec else ()
        missing |= {one.name: one.size if one.kind == "classes" else torch.nan for one in conditions}
        found = dict(cond)
        for name in cond.keys() & missing.keys():
            value, null = cond[name], missing[name]
            found[name] = (
                torch.full_like(value, null)
                if items is None
                else value.masked_fill(items.reshape(-1, *[1] * (value.ndim - 1)), null)
            )
        return found


def _scaled(x: Tensor, factor: float) -> Tensor:
    """Return ``factor`` times ``x``; to multiply by a float, torch would make a tensor of it, at as much cost again."""
    return torch.add(_ZERO, x, alpha=factor)


def _rows(t: Tensor, *values: Tensor | float) -> Tensor:
    """Return values, each a number, ``(batch,)`` as ``t`` is, or ``(batch, channels)``, as ``(k, batch, 1 or C)``."""
    found = (torch.as_tensor(value, dtype=torch.float64) for value in values)
    columns = [value if value.ndim > 1 else value.expand_as(t)[:, None] for value in found]
    return torch.stack(torch.broadcast_tensors(*columns))  # type: ignore[no-untyped-call]


def _columns(table: Tensor, ndim: int) -> Tensor:
    """Return rows ``(…, channels)`` as ``(…, channels, 1, …)``, to multiply data of ``ndim`` axes."""
    return table.reshape(*table.shape, *([1] * (ndim - 2)))
