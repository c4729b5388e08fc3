"""The weights of a multistep method, fitted by least squares to a model's own trajectories.

Each step is a sum of x and of the latest estimates. With z = x/α its weights add up to 1, so that data which is moved
is sampled moved. A change of them that keeps to this is

    a (z - D_0) + Σ_j b_j (D_j - D_j+1),

and a and the b_j are what is fitted: so that steps that go on from where the fitted steps before them ended, errors and
all, lead to the exact places. A sample that is far off counts by its distance, not by the square of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from diffkit import levels, summed
from diffkit.contracts.sampling import Denoise
from diffkit_samplers.exp_adams import ExpAdams
from diffkit_samplers.pilot import ENOUGH, Pilot, thinned

LOOKS = 6
"""How many estimates a fitted step looks at: those of a predictor of order 4, of its corrector, and one more."""
RIDGE, PASSES, FLOOR = 0.03, 2, 1e-2


class Walk(NamedTuple):
    """Steps along a pilot: a row a step, as ``ExpAdams(fitted=)`` takes them, and how far off each sample ended."""

    rows: list[list[float]]
    missed: Tensor


def walk(
    denoiser: Denoise,
    pilot: Pilot,
    lams: Tensor,
    sampler: ExpAdams,
    *,
    fitted: slice,
    cond: dict[str, Tensor],
) -> Walk:
    """Take the steps of ``sampler`` between levels ``lams``, their weights fitted to those samples of a pilot.

    Args:
        denoiser: the model.
        pilot: its trajectories.
        lams: λ of the noisy levels, float64 on the host.
        sampler: its own weights are what the fit starts from.
        fitted: the samples that are looked at.
        cond: conditions for the denoiser.
    """
    path = levels(denoiser.schedule, denoiser.schedule.time(lams), like=pilot.z)
    z, known, rows = pilot.start, list[Tensor](), list[list[float]]()
    for now, then, plan in zip(path, path[1:], sampler.prepare(path), strict=False):
        known = [denoiser(now.alpha * z, now, **cond), *known[: LOOKS - 1]]
        own = [plan.terms[0] * now.alpha / then.alpha, *(weight / then.alpha for weight in plan.terms[1:])]
        weights = torch.tensor((own + [0.0] * LOOKS)[: len(known) + 1], dtype=torch.float64)
        goal = pilot.at(then.lam)
        seen = torch.stack([thinned(point, pilot.every) for point in (z, *known)])
        missed = goal - torch.einsum("k,k...->...", weights.to(seen), seen)
        weights += fit(seen[:, fitted], missed[fitted], RIDGE)[0]
        z = summed(weights.tolist(), (z, *known))
        rows.append([now.lam, *weights.tolist()])
    return Walk(rows, (thinned(z, pilot.every) - goal).square().mean(1).sqrt())


def fit(points: Tensor, missed: Tensor, ridge: float, most: int = ENOUGH) -> tuple[Tensor, Tensor]:
    """Return the change of the weights of ``points`` that makes up for what was missed, and what it leaves.

    Args:
        points: z and estimates, ``(k, batch, …)``.
        missed: what is to be made up for, ``(batch, …)``.
        ridge: what a change costs, so that weights of estimates that hardly differ stay small: it is added to the
            singular values of the features, which are scaled alike, relative to the root of the sum of their squares.
        most: how many values are looked at.

    Returns:
        Float64 on the host: the change ``(k,)``, whose sum is 0, and the length of what is left ``(batch,)``.
    """
    every = -(-missed.numel() // most)
    features = (points[:-1] - points[1:]).flatten(2)[..., ::every].to("cpu", torch.float64)
    wanted = left = missed.flatten(1)[:, ::every].to("cpu", torch.float64)
    found = torch.zeros(len(features), dtype=torch.float64)
    for _ in range(PASSES):
        distance = left.norm(dim=1, keepdim=True)
        share = (distance + FLOOR * distance.mean()).clamp(min=torch.finfo(torch.float64).tiny).rsqrt()
        rows = (features * share).flatten(1)
        length = rows.norm(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
        gram = (rows / length) @ (rows / length).T
        held = gram + ridge**2 * len(gram) * torch.eye(len(gram), dtype=torch.float64)
        found = torch.linalg.solve(held, (rows / length) @ (wanted * share).flatten()) / length[:, 0]
        left = wanted - torch.einsum("k,knm->nm", found, features)
    ends = torch.zeros(1, dtype=torch.float64)
    return torch.cat((found, ends)) - torch.cat((ends, found)), left.norm(dim=1)
