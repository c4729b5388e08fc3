"""The weights and the levels of a multistep method, led by gradients to where a model's trajectories end.

Fitted one by one, as in :mod:`diffkit_samplers.fitting`, steps know nothing of which of their errors will grow and
which the next step makes up for. What counts is how far off the end is, and that is a smooth function of all weights
and all levels: its gradient goes back through every step and the network in it. L-BFGS follows it, Liu & Nocedal, "On
the limited memory BFGS method for large scale optimization" (1989).

Solvers led by gradients are Shaul et al., "Bespoke Solvers for Generative Flow Models" (2024), and Frankel et al.,
"S4S: Solving for a Diffusion Model Solver" (2025).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffkit import levels
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.fitting import RIDGE
from diffkit_samplers.pilot import Pilot, thinned

LOOKS, GLANCES = 60, 4
"""How often the end and its gradient are looked at, and how often meanwhile the samples that judge are."""
SHIFT = 0.03
"""How far above a level in noise, in λ, the second evaluation is that tells how an estimate depends on the level."""
TINY = 1e-36
"""The square of a distance that nothing is told from: the root of 0 has no gradient."""


class Descent(NamedTuple):
    """Where it led: rows as ``ExpAdams(fitted=)`` takes them, and the mean error of the samples that judge."""

    rows: list[list[float]]
    error: float


def cost(steps: int) -> int:
    """Return how many evaluations of the denoiser :func:`descend` takes, at most."""
    return steps * (1 + 2 * LOOKS + GLANCES)


def descend(
    denoiser: Denoise,
    pilot: Pilot,
    start: Descent,
    scale: float,
    *,
    fitted: slice,
    judges: slice,
    cond: dict[str, Tensor],
) -> Descent:
    """Return the rows that a descent from ``start`` finds, or ``start`` where the samples that judge saw none better.

    Args:
        denoiser: the model; one that gives no gradient in the sample is led by what of the gradient needs none.
        pilot: its trajectories.
        start: where the descent starts.
        scale: the standard deviation of the data.
        fitted: the samples whose ends are brought nearer.
        judges: those that judge what comes of it.
        cond: conditions for the denoiser.
    """
    course, best = Course(denoiser, pilot, start, scale, fitted, cond), start
    theta = torch.zeros(course.size, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [theta],
        max_iter=LOOKS,
        tolerance_grad=0.0,
        tolerance_change=0.0,
        history_size=LOOKS,
        line_search_fn="strong_wolfe",
    )
    looks, nearest, found = 0, float("inf"), theta.detach().clone()

    def glance() -> None:
        nonlocal best
        with torch.no_grad():
            error = course.missed(found, judges).mean().item()
        if error < best.error:
            best = Descent(course.rows(found), error)

    def look() -> Tensor:
        nonlocal looks, nearest, found
        if looks == LOOKS:
            raise _Spent
        if looks and looks % (LOOKS // GLANCES) == 0:
            glance()
        looks += 1
        optimizer.zero_grad()
        error = course.missed(theta, fitted).mean() / start.error
        error.backward()
        if error < nearest:
            nearest, found = error.item(), theta.detach().clone()
        return error

    with suppress(_Spent), torch.enable_grad():
        optimizer.step(look)
    glance()
    return best


class _Spent(Exception):
    """There are no looks left."""


class Course:
    """Steps along a pilot whose weights and levels are functions of one vector θ, which is 0 at the rows given.

    Each row's weights change as in :func:`~diffkit_samplers.fitting.fit`, so that they still add up to 1. Of the gaps
    between levels, the last of which is that to the pilot's last level, the logarithms change relative to each other:
    the first level stays, and none goes beyond the pilot's.

    A number of θ that is 1 moves the end about as far as it is off, whichever it is, since a descent is slow where some
    do much more than others. So changes move a step by one length, whichever way, on the way that starts the descent,
    and by √(1 + (s/c)²) as much where the step ends at s = σ/α: an error there shrinks by that on the way to clean
    data, as across Gaussian data of standard deviation c.

    Args:
        denoiser: the model.
        pilot: its trajectories.
        start: the rows, and how far off they end.
        scale: c, the standard deviation of the data.
        fitted: the samples that the lengths of features are taken from.
        cond: conditions for the denoiser.

    Attributes:
        size: how many numbers θ has.
    """

    def __init__(
        self,
        denoiser: Denoise,
        pilot: Pilot,
        start: Descent,
        scale: float,
        fitted: slice,
        cond: dict[str, Tensor],
    ) -> None:
        self.denoiser, self.pilot, self.cond = denoiser, pilot, cond
        self._lams = torch.tensor([row[0] for row in start.rows] + [float(pilot.lam[-1])], dtype=torch.float64)
        self._weights = [torch.tensor(row[1:], dtype=torch.float64) for row in start.rows]
        self._parts = [len(start.rows) - 1, *(len(weights) - 1 for weights in self._weights)]
        self.size = sum(self._parts)
        lams = self._lams[:-1]
        thick = (1 + torch.cat(((-2 * lams[1:]).exp(), lams.new_zeros(1))) / scale**2).sqrt()
        with torch.no_grad():
            steps = zip(self._steps(lams, self._weights, fitted), thick, strict=False)
            self._bases = [start.error * length * basis(points, pilot.every) for points, length in steps]
        self._gap = start.error / scale

    def at(self, theta: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the levels' λ and each step's weights, as θ changes them."""
        change, *changes = theta.split(self._parts)
        end = theta.new_zeros(1)
        gaps = (self._lams.diff().log() + torch.cat((self._gap * change, end))).softmax(0)
        lams = self._lams[0] + (self._lams[-1] - self._lams[0]) * torch.cat((end, gaps[:-1].cumsum(0)))
        moved = (basis @ one for basis, one in zip(self._bases, changes, strict=True))
        found = zip(self._weights, moved, strict=True)
        return lams, [own + torch.cat((one, end)) - torch.cat((end, one)) for own, one in found]

    def rows(self, theta: Tensor) -> list[list[float]]:
        """Return the same as ``ExpAdams(fitted=)`` takes it."""
        lams, weights = self.at(theta)
        return [[lam, *row.tolist()] for lam, row in zip(lams.tolist(), weights, strict=True)]

    def missed(self, theta: Tensor, part: slice) -> Tensor:
        """Return how far from the pilot's end each of those samples ends, the root of its mean square."""
        *_, (end,) = self._steps(*self.at(theta), part)
        return (thinned(end, self.pilot.every) - self.pilot.z[-1][part]).square().mean(1).clamp(min=TINY).sqrt()

    def _steps(self, lams: Tensor, rows: list[Tensor], part: slice) -> Iterator[tuple[Tensor, ...]]:
        """Yield what each step sums, z and the estimates, and last the end alone."""
        z, known = self.pilot.start[part], list[Tensor]()
        cond = {name: value[part] for name, value in self.cond.items()}

        def ask(z: Tensor, lam: Tensor) -> Tensor:
            at = levels(self.denoiser.schedule, self.denoiser.schedule.time(lam[None]), like=z)[0]
            return self.denoiser(at.alpha * z, at, **cond)

        for i, (lam, row) in enumerate(zip(lams, rows, strict=True)):
            estimate = _Estimate.apply(z, lam if i else lam.detach(), ask)
            known = [estimate, *known][: len(row) - 1]
            yield (z, *known)
            z = torch.einsum("k,k...->...", row.to(z), torch.stack((z, *known)))
        yield (z,)


def basis(points: Sequence[Tensor], every: int) -> Tensor:
    """Return changes of a step's weights, a column each, that move it by a length of 1, whichever way."""
    seen = torch.stack([thinned(point, every) for point in points])
    features = (seen[:-1] - seen[1:]).flatten(1).to("cpu", torch.float64)
    length = features.square().mean(1, keepdim=True).sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    gram = (features / length) @ (features / length).T / features.shape[1]
    held = gram + RIDGE**2 * len(gram) * torch.eye(len(gram), dtype=torch.float64)
    return torch.linalg.inv(torch.linalg.cholesky(held)).T / length


class _Estimate(torch.autograd.Function):
    """The estimate at z and λ, of which nothing is kept for its gradient but itself.

    The gradient in z is that of a second evaluation, at a little more noise, which is as good for this; the gradient in
    λ, in which no denoiser is differentiable, is the difference of the two.
    """

    @staticmethod
    def forward(ctx: Any, z: Tensor, lam: Tensor, ask: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
        """Return the estimate."""
        estimate = ask(z, lam)
        ctx.ask = ask
        ctx.save_for_backward(z, lam, estimate)
        return estimate

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> Any:
        """Return the gradients in z and in λ."""
        z, lam, estimate = ctx.saved_tensors
        shift = SHIFT if ctx.needs_input_grad[1] else 0.0
        with torch.enable_grad():
            near = z.detach().requires_grad_()
            moved = ctx.ask(near, lam.detach() - shift)
            (in_z,) = torch.autograd.grad(moved, near, grads[0]) if moved.requires_grad else (None,)
        in_lam = ((estimate - moved.detach()) * grads[0]).sum() / shift if shift else None
        return in_z, in_lam.to(lam) if in_lam is not None else None, None
