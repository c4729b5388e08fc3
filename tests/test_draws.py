"""What is drawn for a step is the same for an item however its batch is divided."""

import pytest
import torch

from diffkit import DataSpec, Denoiser, build
from diffkit.draws import Draws
from diffkit.parallel import Ranks

SPEC = DataSpec(1, (3, 3), ("a", "b"))


class Shaken:
    """Every item is mirrored or not, and has its own noise, drawn value by value."""

    def __call__(self, x, generator):
        mirrored = torch.rand(len(x), generator=generator) < 0.5
        x = torch.where(mirrored[:, None, None, None], x.flip(-1), x)
        return x + torch.randn(x.shape, generator=generator)


def drawn(batch, size, step=3, failures=0):
    """Return what all of ``size`` ranks draw for a batch, put together."""
    denoiser = Denoiser(build("net", "mlp", spec=SPEC, width=8), "edm", "edm", times="lognormal")
    x, label = torch.arange(batch * 9.0).view(batch, 1, 3, 3), torch.arange(batch) % 2
    parts = []
    for rank in range(size):
        draws = Draws(denoiser, 5, batch, Ranks(rank, size))
        draws.at(step, failures)
        own = slice(draws.rows.start, draws.rows.stop)
        n = len(draws.rows)
        noise = torch.cat([draws.noise(x[own], slice(k, min(k + 7, n))) for k in range(0, n, 7)])
        label_ = draws.dropped({"label": label[own]}, 0.5)["label"]
        parts.append((draws.times(), noise, draws.augmented(x[own], Shaken()), label_))
    return [torch.cat(part) for part in zip(*parts, strict=True)]


@pytest.mark.parametrize(("batch", "size"), [(64, 2), (48, 2), (48, 3), (100, 4), (72, 24), (6, 6)])
def test_ranks_draw_together_what_one_draws_alone(batch, size):
    for together, alone in zip(drawn(batch, size), drawn(batch, 1), strict=True):
        assert len(alone) == batch and torch.equal(together, alone)


def test_every_step_every_failure_and_every_item_has_its_own():
    first, *others = drawn(64, 1), drawn(64, 1, step=4), drawn(64, 1, failures=1)
    for other in others:
        assert all(not torch.equal(a, b) for a, b in zip(first, other, strict=True))
    change = first[2] - torch.arange(64 * 9.0).view(64, 1, 3, 3)
    assert len(change.flatten(1).unique(dim=0)) == 64
