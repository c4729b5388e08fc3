"""The peer of training.py: diffusers' UNet2DModel trained as its examples train it, made as large as the tasks ask for.

Noise is predicted on a DDPM table of 1,000 steps, by AdamW with a rate that warms up and falls along a cosine, with
clipped gradients and an EMAModel; DDIM draws. Of widths, rates and tables the better of those tried.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from torch import Tensor

WARMUP = 0.1
"""The share of the time over which the rate rises."""


@dataclass(frozen=True)
class Setting:
    """How diffusers trains on one task: channels of each level, blocks a level, levels that attend, and the rest."""

    widths: tuple[int, ...]
    blocks: int
    attentive: tuple[int, ...]
    batch: int
    lr: float
    table: str = "squaredcos_cap_v2"
    flip: bool = False
    evaluations: int = 50


SETTINGS = {
    "digits": Setting((32, 64), 1, (1,), 64, 3e-3),
    "pictures": Setting((32, 64, 64, 64), 1, (2,), 8, 2e-3, flip=True, evaluations=20),
}


class Peer:
    """A network of diffusers, trained while ``share()``, of its time, is below 1.

    Args:
        setting: how.
        x: the training data ``(items, channels, side, side)``.
        label: of each item.
        seed: of everything.
        share: how much of the time is over.
    """

    def __init__(self, setting: Setting, x: Tensor, label: Tensor, seed: int, share: Callable[[], float]) -> None:
        torch.manual_seed(seed)
        kinds = ["AttnDownBlock2D" if i in setting.attentive else "DownBlock2D" for i in range(len(setting.widths))]
        blocks: dict[str, Any] = {
            "down_block_types": tuple(kinds),
            "up_block_types": tuple(kind.replace("Down", "Up") for kind in reversed(kinds)),
        }
        self.net = UNet2DModel(
            sample_size=x.shape[-1],
            in_channels=x.shape[1],
            out_channels=x.shape[1],
            block_out_channels=setting.widths,
            layers_per_block=setting.blocks,
            norm_num_groups=16,
            num_class_embeds=int(label.max()) + 1,
            **blocks,
        )
        self.shape, self.seed, self.evaluations = x.shape[1:], seed, setting.evaluations
        self.scheduler = DDPMScheduler(1000, beta_schedule=setting.table)
        self.parameters = sum(p.numel() for p in self.net.parameters())
        self.steps = self._train(setting, x, label, share)

    def _train(self, setting: Setting, x: Tensor, label: Tensor, share: Callable[[], float]) -> int:
        parameters = list(self.net.parameters())
        optimizer = torch.optim.AdamW(parameters, setting.lr, betas=(0.95, 0.999), weight_decay=1e-6)
        average = EMAModel(parameters, decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
        step, order = 0, torch.empty(0, dtype=torch.int64)
        while (done := share()) < 1:
            for group in optimizer.param_groups:
                group["lr"] = setting.lr * min(1.0, done / WARMUP + 0.01) * (1 + cos(pi * done)) / 2
            if len(order) < setting.batch:
                order = torch.cat([order, torch.randperm(len(x))])
            rows, order = order[: setting.batch], order[setting.batch :]
            x0 = x[rows]
            if setting.flip:
                x0 = torch.where((torch.rand(len(x0)) < 0.5).view(-1, 1, 1, 1), x0.flip(-1), x0)
            noise, t = torch.randn_like(x0), torch.randint(0, 1000, (len(x0),))
            noisy = self.scheduler.add_noise(x0, noise, t)  # type: ignore[arg-type]
            loss = (self.net(noisy, t, class_labels=label[rows]).sample - noise).square().mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            average.step(parameters)
            step += 1
        average.copy_to(parameters)
        self.net.eval()
        return step

    @torch.no_grad()
    def estimate(self, x: Tensor, sigma: float, label: Tensor) -> Tensor:
        """Return E[x₀ | x₀ + σε = ``x``]; between the table's levels the network is told a time in between."""
        known = ((1 - self.scheduler.alphas_cumprod) / self.scheduler.alphas_cumprod).sqrt()  # σ of each step
        after = int((known < sigma).sum().clamp(1, len(known) - 1))
        low, high = known[after - 1].log().item(), known[after].log().item()
        t = after - 1 + (torch.tensor(sigma).log().item() - low) / (high - low)
        scaled = x / (1 + sigma**2) ** 0.5
        return x - sigma * self.net(scaled, torch.full((len(x),), t), class_labels=label).sample

    @torch.no_grad()
    def sample(self, label: Tensor) -> Tensor:
        """Return a sample of each label."""
        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(self.evaluations)
        generator, drawn = torch.Generator().manual_seed(self.seed), []
        for some in label.split(100):
            x = torch.randn((len(some), *self.shape), generator=generator)
            for t in scheduler.timesteps:
                x = scheduler.step(self.net(x, t, class_labels=some).sample, t, x).prev_sample
            drawn.append(x)
        return torch.cat(drawn)
