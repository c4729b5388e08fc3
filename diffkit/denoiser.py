"""The denoiser: network + schedule + prediction = an estimate of the clean data at any noise level.

With F the network, the estimate is D(x, t) = c_skip x + c_out F(c_in x, λ). From it follow exactly

    ε = (x - α D) / σ,        score = (α D - x) / σ²,        x_t = α x_0 + σ ε.

Training draws t and ε and regresses F on its target. Put x_0 for D and x_t for x, and the target is

    F* = a x_0 + b ε,    a = (1 - c_skip α) / c_out,    b = -c_skip σ / c_out,

which is ε, v, u or x_0 itself for the predictions of those names. A weight w(λ) on the squared error of x_0 is a
weight w c_out² on that of F.

A prediction may have the network learn the variance of that estimate, too, by a second output G. An item may have one
level, or one for each of its frames: the first axis of its shape.
"""

from typing import Any

import torch
from torch import Tensor, nn

from diffkit.catalog import build
from diffkit.contracts.network import DataSpec
from diffkit.contracts.objective import Noise, Prediction, Times, Weighting
from diffkit.contracts.schedule import Level, Schedule
from diffkit.errors import DiffkitError
from diffkit.linear import scaled

WIDEST = 10.0
"""The log of a variance over that which a prediction starts from is kept within this, either way."""


class Denoiser(nn.Module):
    """E[x_0 | x_t] from a network, under any schedule and any prediction.

    Args:
        net: maps ``(c_in x, λ, **cond)`` to an output of the shape of ``x``, or to two where the prediction says so.
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
        built, needed = getattr(net, "spec", None), outputs_of(self.prediction)
        if built is not None and built.outputs != needed:
            raise DiffkitError(
                f"{type(self.prediction).__name__} needs {needed} outputs of a network for each value, and the "
                f"{type(net).__name__} was built for {built.outputs}; build it for a spec with outputs={needed}"
            )

        if getattr(self.times, "per_frame", False):
            self._check_frames()

    def _check_frames(self) -> None:
        if not getattr(self.net, "per_frame", False):
            raise DiffkitError(
                f"{type(self.net).__name__} is told one noise level for the whole of an item, and not one a frame; "
                f"choose a network for clips that is, such as net=unet, or other times: times=NAME"
            )

    def _times(self, at: Tensor | float, n: int) -> Tensor:
        """Return times as float64 ``(n,)``, or ``(n, frames)`` where they are given so."""
        t = torch.as_tensor(at, dtype=torch.float64)
        if t.ndim < 2:
            return t.expand(n)
        self._check_frames()
        return t

    def _component(self, kind: str, value: Any) -> Any:
        return build(kind, value, spec=self.spec) if isinstance(value, str) else value

    def forward(self, x: Tensor, at: Level | Tensor | float, **cond: Tensor) -> Tensor:
        """Return E[x_0 | x_t = x], of the shape of ``x``.

        Args:
            x: noisy data ``(batch, channels, *shape)``.
            at: a noise :class:`~diffkit.Level`, as samplers pass it, or a time in [0, 1]: a float, or a tensor
                ``(batch,)``, or ``(batch, frames)`` for a network that is told one level a frame.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        if hasattr(self.prediction, "variance"):
            return self.moments(x, at, **cond)[0]
        own, n = self.__dict__, x.shape[0]  # a module finds and sets attributes in the time that a small layer takes
        own["evaluations"] += 1
        own["items"] += n
        net = own["_modules"]["net"]
        if isinstance(at, Level):
            c_skip, c_out, c_in = self.prediction.coefficients(at.alpha, at.sigma)
            lam = at.tensor.expand(n)
            if not isinstance(c_in, Tensor):
                return torch.add(scaled(x, c_skip), net(scaled(x, c_in), lam, **cond), alpha=c_out)
            table = torch.stack((c_skip, c_out, c_in))[:, None].to(x, non_blocking=True)  # one for each channel
        else:
            t = self._times(at, n)
            table = _rows(t, *self.prediction.coefficients(self.schedule.alpha(t), self.schedule.sigma(t))).to(x)
            lam = self.schedule.lam(t).to(x)
        skip, out, inner = _columns(table, x.ndim)
        return skip * x + out * net(inner * x, lam, **cond)

    def moments(self, x: Tensor, at: Level | Tensor | float, **cond: Tensor) -> tuple[Tensor, Tensor]:
        """Return E[x_0 | x_t = x] and the variance of each value of x_0 given x_t = x, both of the shape of ``x``.

        Both come from one evaluation; see :meth:`forward`.

        Raises:
            DiffkitError: where the network has not learned a variance.
        """
        told: Any = self.prediction
        if not hasattr(told, "variance"):
            raise DiffkitError(
                f"the model predicts by {type(told).__name__}, without a variance; train one with "
                f"prediction=learned_variance, or sample without, such as sampler.variance=small"
            )
        self.evaluations += 1
        self.items += len(x)
        alpha: Any
        sigma: Any
        if isinstance(at, Level):
            lam, alpha, sigma = at.tensor.expand(len(x)), at.alpha, at.sigma
        else:
            t = self._times(at, len(x))
            lam, alpha, sigma = self.schedule.lam(t).to(x), self.schedule.alpha(t), self.schedule.sigma(t)
        factors: Any = (*told.coefficients(alpha, sigma), told.variance(alpha, sigma))
        if isinstance(at, Level) and any(isinstance(factor, Tensor) for factor in factors):  # one for each channel
            t, factors = torch.zeros(1), [f[None] if isinstance(f, Tensor) else f for f in factors]
        if any(isinstance(factor, Tensor) for factor in factors):
            table = _rows(t, *factors)
            factors = _columns(table.to(x, non_blocking=True), x.ndim)
        skip, out, inner, variance = factors
        output, log_ratio = self.net(inner * x, lam, **cond).chunk(2, 1)
        return skip * x + out * output, variance * _bounded(log_ratio.to(x.dtype)).exp()

    def loss(self, x0: Tensor, *, t: Tensor | None = None, noise: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return the mean weighted squared error on clean data, a scalar to call ``backward`` on.

        Args:
            x0: clean data ``(batch, channels, *shape)``.
            t: times ``(batch,)``, or ``(batch, frames)``, float64 on the host; drawn where not given.
            noise: unit-variance noise of the shape of ``x0``; drawn where not given.
            cond: conditions for the network, each ``(batch, ...)``.
        """
        return self.losses(x0, t=t, noise=noise, **cond).mean()

    def losses(self, x0: Tensor, *, t: Tensor | None = None, noise: Tensor | None = None, **cond: Tensor) -> Tensor:
        """Return the loss of each item, ``(batch,)``: its weighted squared error, balanced where the weighting learns.

        Where a variance is learned, the negative log likelihood of that error is added. While training, losses are
        multiplied by the importance of their times, where times are drawn by importance. See :meth:`loss`.
        """
        t = self._times(self.draw_times(len(x0)) if t is None else t, len(x0))
        if noise is None:
            noise = self.draw_noise(x0)
        table = self._training_table(t).to(x0, non_blocking=True)
        alpha, sigma, c_in, a, b, *gain = _columns(table[:-2], x0.ndim)
        lam, weight = table[-2, :, 0], table[-1]
        output = self.net(c_in * (alpha * x0 + sigma * noise), lam, **cond).to(x0.dtype)
        output, *log_ratio = output.chunk(1 + len(gain), 1)
        error = output - (a * x0 + b * noise)
        losses = _by_level(error.square(), weight)
        balance = getattr(self.weighting, "balance", None)
        losses = losses if balance is None else balance(losses, lam)
        if gain:
            surprise = _surprise(error.detach().square() * gain[0], log_ratio[0])
            losses = losses + _by_level(surprise, torch.ones_like(weight))
        importance = getattr(self.times, "importance", None) if self.training else None
        losses = losses if importance is None else losses * importance(t).to(losses, non_blocking=True)
        return losses if losses.ndim == 1 else losses.mean(1)

    def _training_table(self, t: Tensor) -> Tensor:
        """Return rows of α, σ, c_in, a, b, c_out² over the variance where one is learned, λ and the weight."""
        alpha, sigma, lam = self.schedule.alpha(t), self.schedule.sigma(t), self.schedule.lam(t)
        predicted: Any = self.prediction
        c_skip, c_out, c_in = _rows(t, *predicted.coefficients(alpha, sigma))
        gain = [c_out**2 / _rows(t, predicted.variance(alpha, sigma))[0]] if hasattr(predicted, "variance") else []
        alpha, sigma, lam = _rows(t, alpha, sigma, lam)
        a, b = (1 - c_skip * alpha) / c_out, -c_skip * sigma / c_out
        weight = torch.ones_like(c_out) if self.weighting is None else self.weighting(lam) * c_out**2
        return _stacked(alpha, sigma, c_in, a, b, *gain, lam, weight)

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
        if self.spec is None and "label" in cond:
            raise DiffkitError(
                "the denoiser was not told of what data it is, so that no label is known to mean any; give it "
                "Denoiser(..., spec=DataSpec(..., labels=...)), or a network with a spec"
            )
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


def outputs_of(prediction: Prediction) -> int:
    """Return how many outputs a prediction needs of a network for each value: 2 where it has a variance learned."""
    return 2 if hasattr(prediction, "variance") else 1


def _bounded(log_ratio: Tensor) -> Tensor:
    return WIDEST * torch.tanh(log_ratio / WIDEST)


def _surprise(squares: Tensor, log_ratio: Tensor) -> Tensor:
    """Return -log N(e; 0, v), but for constants, for ``squares`` e² and v the exponential of the bounded ratio."""
    log_ratio = _bounded(log_ratio)
    return (log_ratio + squares * torch.exp(-log_ratio)) / 2


def _rows(t: Tensor, *values: Tensor | float) -> Tensor:
    """Return values as ``(k, batch, 1 or channels)``, or with frames as a last axis, where ``t`` has them.

    Each is a number, of the shape of ``t``, or of that shape and one for each channel as the last axis.
    """
    found = (torch.as_tensor(value, dtype=torch.float64) for value in values)
    return _stacked(*(v.movedim(-1, 1) if v.ndim > t.ndim else v.expand_as(t)[:, None] for v in found))


def _stacked(*values: Tensor) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*values))  # type: ignore[no-untyped-call]


def _columns(table: Tensor, ndim: int) -> Tensor:
    """Return a table of rows as one with axes for each axis of data of ``ndim`` axes, to multiply it."""
    return table.reshape(*table.shape, *([1] * (ndim + 1 - table.ndim)))


def _by_level(values: Tensor, weight: Tensor) -> Tensor:
    """Return the weighted means of ``values`` ``(batch, channels, *shape)`` at each level: by item, or by frame."""
    if weight.shape[1] > 1:
        values, weight = _columns(weight[None], values.ndim)[0] * values, torch.ones_like(weight[:, :1])
    values = values.flatten(1) if weight.ndim == 2 else values.transpose(1, 2).flatten(2)
    return weight[:, 0] * values.mean(-1)
