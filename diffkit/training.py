"""The training loop: a generator that takes a step, says how it went, and leaves the rest to the caller."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffkit.contracts.data import Augmentation, Encoder
from diffkit.contracts.training import Optimizer
from diffkit.data.stream import BatchStream
from diffkit.denoiser import Denoiser
from diffkit.ema import EMA
from diffkit.streams import generator, key


@dataclass(frozen=True)
class Step:
    """One training step that was taken: its number (from 1), and the loss and gradient norm on the device."""

    number: int
    loss: Tensor
    grad_norm: Tensor
    lr: float


class Trainer:
    """Trains a denoiser. All randomness is a function of (seed, step), so a run resumes to the bit.

    Args:
        denoiser: what is trained, on the device it shall train on.
        stream: the batches.
        optimizer: the optimizer and its learning rate.
        steps: the last step's number.
        seed: of times, noise, dropout and augmentation.
        clip: the largest norm of the gradient; 0 does not clip.
        ema: the decay of the parameters' average.
        precision: ``"fp32"``, or ``"bf16"`` for autocast.
        encoder: data to latents, where the denoiser models latents.
        augment: a random change of each batch.
    """

    def __init__(
        self,
        denoiser: Denoiser,
        stream: BatchStream,
        optimizer: Optimizer,
        *,
        steps: int,
        seed: int = 0,
        clip: float = 1.0,
        ema: float = 0.999,
        precision: str = "fp32",
        encoder: Encoder | None = None,
        augment: Augmentation | None = None,
    ) -> None:
        self.denoiser, self.stream, self.optimizer = denoiser, stream, optimizer
        self.steps, self.seed, self.clip = steps, seed, clip
        self.encoder, self.augment, self.precision = encoder, augment, precision
        self.weighting = denoiser.weighting if isinstance(denoiser.weighting, nn.Module) else nn.Module()
        trained = denoiser.net
        if any(p.requires_grad for p in self.weighting.parameters()):
            trained = nn.ModuleDict({"net": denoiser.net, "weighting": self.weighting})
        self.parameters = [p for p in trained.parameters() if p.requires_grad]
        self.device = next(denoiser.net.parameters()).device
        self.torch_optimizer = optimizer.create(trained)
        self.average = EMA(denoiser.net, ema)
        self.told = denoiser.spec.told if denoiser.spec else ()
        self.step = 0
        self._noise_generator = torch.Generator(self.device)

    def run(self) -> Iterator[Step]:
        """Train from ``self.step`` to ``self.steps``, yielding after each step; stop by not asking for the next."""
        self.denoiser.train()
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            while self.step < self.steps:
                taken = self._take()
                self.step += 1
                yield taken

    def _take(self) -> Step:
        x0, cond = self._batch()
        t = self.denoiser.draw_times(len(x0), generator(self.seed, "times", self.step))
        self._noise_generator.manual_seed(key(self.seed, "noise", self.step))
        noise = self.denoiser.draw_noise(x0, self._noise_generator)
        self._seed_network(key(self.seed, "net", self.step))

        lr = self.optimizer.rate(self.step, self.steps)
        for group in self.torch_optimizer.param_groups:
            group["lr"] = lr
        self.torch_optimizer.zero_grad(set_to_none=True)
        with autocast(self.precision, self.device):
            loss = self.denoiser.loss(x0, t=t, noise=noise, **cond)
        loss.backward()  # type: ignore[no-untyped-call]
        limit = self.clip if self.clip > 0 else float("inf")
        norm = torch.nn.utils.clip_grad_norm_(self.parameters, limit)
        self.torch_optimizer.step()
        self.average.update(self.step)
        return Step(self.step + 1, loss.detach(), norm, lr)

    def _seed_network(self, seed: int) -> None:
        # Not torch.manual_seed: without a GPU that queues a call, with a traceback, for each kind of device.
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed(seed)
        elif self.device.type == "mps":
            torch.mps.manual_seed(seed)

    def _batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        x, cond = self.stream.batch(self.step)
        if self.augment is not None:
            x = self.augment(x, generator(self.seed, "augment", self.step))
        x = x.to(self.device, non_blocking=True)
        if self.encoder is not None:
            with torch.no_grad():
                x = self.encoder.encode(x)
        return x, {name: value.to(self.device, non_blocking=True) for name, value in cond.items() if name in self.told}

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors of the state, by file and name: the network's, their average's and the optimizer's.

        Those of a weighting that learns come besides.
        """
        moments = {
            f"{index}.{name}": value
            for index, values in self.torch_optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        files = {"model": self.denoiser.net.state_dict(), "ema": self.average.state(), "optimizer": moments}
        learned = self.weighting.state_dict()
        return {**files, "weighting": learned} if learned else files

    def numbers(self) -> dict[str, Any]:
        """Return the rest of the state, as JSON: the step, and what of the optimizer's state is no tensor."""
        state = self.torch_optimizer.state_dict()
        plain = {
            str(index): {name: value for name, value in values.items() if not isinstance(value, Tensor)}
            for index, values in state["state"].items()
        }
        return {"step": self.step, "optimizer": {"plain": plain, "groups": state["param_groups"]}}

    def restore(self, tensors: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Take over the state that :meth:`tensors` and :meth:`numbers` gave."""
        self.denoiser.net.load_state_dict(tensors["model"])
        self.average.load(tensors["ema"])
        self.weighting.load_state_dict(tensors.get("weighting", {}))
        state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in numbers["optimizer"]["plain"].items()}
        for name, value in tensors["optimizer"].items():
            index, _, field = name.partition(".")
            state[int(index)][field] = value
        groups = [dict(group) for group in numbers["optimizer"]["groups"]]
        self.torch_optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.step = numbers["step"]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context that runs a network in ``precision``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)
