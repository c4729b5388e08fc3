"""Validation: the loss on held-out data, by noise level, with the same noise each time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from diffkit.contracts.data import Dataset, Encoder
from diffkit.data.fetch import fetch
from diffkit.streams import Streams, generator
from diffkit.training import Trainer, autocast

ITEMS = 512
"""The most held-out items that are looked at."""
LEVELS = 8
"""At how many noise levels: the middles of as many equal parts of those that training draws."""


class _Batch(NamedTuple):
    x0: Tensor
    noise: Tensor
    cond: dict[str, Tensor]


class Validation:
    """The loss of the averaged parameters on held-out data; what differs between two calls is the parameters alone.

    Args:
        dataset: the held-out data.
        trainer: what is trained, which says on what device and with how many items at once.
        encoder: data to latents, where the denoiser models latents.
        seed: of the choice of items and of their noise.
    """

    def __init__(self, dataset: Dataset, trainer: Trainer, encoder: Encoder | None, seed: int) -> None:
        self.dataset, self.encoder, self.seed = dataset, encoder, seed
        ranks, n = trainer.ranks, min(ITEMS, len(dataset))
        order = torch.randperm(len(dataset), generator=generator(seed, "validation"))[: n - n % ranks.size or n]
        self.indices = order[ranks.rank :: ranks.size].tolist() if n >= ranks.size else order.tolist()
        drawn = trainer.denoiser.draw_times(4096, generator(seed, "validation times")).flatten().sort().values
        self.times = drawn[(torch.arange(LEVELS) * 2 + 1) * len(drawn) // (2 * LEVELS)]

    def __call__(self, trainer: Trainer) -> dict[str, float]:
        """Return ``val_loss`` and, for each level, ``val_loss/<λ>``."""
        denoiser = trainer.denoiser
        total = torch.zeros(LEVELS, device=trainer.device)
        denoiser.eval()
        with torch.no_grad(), trainer.average.swapped(), autocast(trainer.precision, trainer.device):
            for x0, noise, cond in self._batches(trainer):
                for level, t in enumerate(self.times):
                    total[level] += denoiser.losses(x0, t=t.expand(len(x0)), noise=noise, **cond).sum()
        denoiser.train()
        losses = trainer.ranks.mean(total / len(self.indices)).tolist()
        lams = denoiser.schedule.lam(self.times).tolist()
        by_level = {f"val_loss/{lam:+.2f}": loss for lam, loss in zip(lams, losses, strict=True)}
        return {"val_loss": sum(losses) / LEVELS, **by_level}

    def _batches(self, trainer: Trainer) -> Iterator[_Batch]:
        size = int(trainer.micro_batch) or trainer.batch_size
        for start in range(0, len(self.indices), size):
            some = self.indices[start : start + size]
            x, cond = fetch(self.dataset, some)
            x = x.to(trainer.device)
            x0 = x if self.encoder is None else self.encoder.encode(x)
            noise = Streams(self.seed, some, trainer.denoiser.noise).draw(tuple(x0.shape[1:]), 0, like=x0)
            yield _Batch(x0, noise, {k: v.to(trainer.device) for k, v in cond.items() if k in trainer.told})
