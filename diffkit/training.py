"""The training loop: a generator that takes a step, says how it went, and leaves the rest to the caller."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffkit.contracts.data import Augmentation, Encoder
from diffkit.contracts.training import Optimizer
from diffkit.data.stream import BatchStream
from diffkit.denoiser import Denoiser
from diffkit.draws import Draws
from diffkit.ema import EMA
from diffkit.errors import DiffkitError
from diffkit.guard import Guard
from diffkit.parallel import ALONE, Ranks, local, loss_of, sharded, whole
from diffkit.streams import generator

AFRESH = 1 << 24
"""How much further in the data a training goes on after a failure, so that it meets other batches."""
MOMENTS = 2
"""How many tensors an optimizer keeps of the size of each parameter: Adam's two."""


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
        ema: the decay of the parameters' average, or of several.
        ema_lengths: relative lengths of power-function averages beside them; see :class:`~diffkit.ema.EMA`.
        precision: ``"fp32"``, or ``"bf16"`` or ``"fp16"`` for autocast; the latter scales the loss.
        encoder: data to latents, where the denoiser models latents.
        augment: a random change of each batch, which is given it in parts.
        micro_batch: how many items are taken through the network at once, with the gradients added up; 0 takes the
            whole batch, and ``"auto"`` as many as fit into memory.
        spike: how far beyond the usual a gradient's norm lets a step be left out; see :class:`~diffkit.guard.Guard`.
        condition_dropout: the share of items that the network is told nothing of, so that it learns both sides of what
            guidance compares (Ho & Salimans, "Classifier-Free Diffusion Guidance", 2022). Dropping each condition on
            its own would teach mixtures that no guidance asks for.
        ranks: the processes that train together.
        parallel: how: ``"ddp"``, ``"fsdp"`` or ``"hsdp"``.
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
        ema: float | Sequence[float] = 0.999,
        ema_lengths: Sequence[float] = (),
        precision: str = "fp32",
        encoder: Encoder | None = None,
        augment: Augmentation | None = None,
        micro_batch: int | str = 0,
        spike: float = 0.0,
        condition_dropout: float = 0.1,
        ranks: Ranks = ALONE,
        parallel: str = "ddp",
    ) -> None:
        self.denoiser, self.stream, self.optimizer = denoiser, stream, optimizer
        self.steps, self.seed, self.clip = steps, seed, clip
        self.encoder, self.augment, self.precision = encoder, augment, precision
        self.weighting = denoiser.weighting if isinstance(denoiser.weighting, nn.Module) else nn.Module()
        self.times: Any = denoiser.times if isinstance(denoiser.times, nn.Module) else nn.Module()
        trained = denoiser.net
        if any(p.requires_grad for p in self.weighting.parameters()):
            trained = nn.ModuleDict({"net": denoiser.net, "weighting": self.weighting})
        self.ranks, self.batch_size, self.micro_batch = ranks, stream.batch_size, micro_batch
        self.losses = loss_of(denoiser, ranks, parallel, precision)
        self.device = next(denoiser.net.parameters()).device
        self.parameters = [p for p in trained.parameters() if p.requires_grad]
        self.in_shards = sharded(self.parameters)
        self.torch_optimizer = optimizer.create(trained)
        self.average = EMA(denoiser.net, ema, ema_lengths)
        self.condition_dropout = condition_dropout
        self.told = denoiser.spec.told if denoiser.spec else ()
        self.guard = Guard(spike, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")
        self.step = self.failures = self.first = 0
        self.draws = Draws(denoiser, seed, self.batch_size, ranks)
        self._constrain: Callable[[], None] | None = getattr(denoiser.net, "constrain", None)
        self._asks_on_device = bool(self.torch_optimizer.defaults.get("fused")) and not self.in_shards

    def run(self) -> Iterator[Step]:
        """Train from ``self.step`` to ``self.steps``, yielding after each step; stop by not asking for the next.

        Raises:
            DiffkitError: where a batch does not fit into memory.
        """
        self.denoiser.train()
        self.first = self.step + 1
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            if self.micro_batch == "auto":
                self.micro_batch = self._fitting()
            while self.step < self.steps:
                taken = self._take()
                self.step += 1
                yield taken

    def _take(self) -> Step:
        x0, cond = self._batch()
        t = self.draws.times()
        self.draws.seed_network()

        lr = self.optimizer.rate(self.step, self.steps)
        for group in self.torch_optimizer.param_groups:
            group["lr"] = lr
        self.torch_optimizer.zero_grad(set_to_none=True)
        try:
            loss = self._backward(x0, t, cond, int(self.micro_batch) or len(x0))
        except RuntimeError as error:
            if not _out_of_memory(error):
                raise
            raise self._too_large() from error
        self.scaler.unscale_(self.torch_optimizer)
        limit = self.clip if self.clip > 0 else float("inf")
        norm = whole(torch.nn.utils.clip_grad_norm_(self.parameters, limit))
        self._apply(self.guard.bad(norm))
        self.average.update(self.step)
        return Step(self.step + 1, loss, norm, lr)

    def _backward(self, x0: Tensor, t: Tensor, cond: dict[str, Tensor], micro: int, join: bool = True) -> Tensor:
        """Add up the gradients of the mean loss, ``micro`` items at a time; return that loss."""
        n, total = len(x0), torch.zeros((), device=self.device)
        for start in range(0, n, micro):
            rows = slice(start, min(start + micro, n))
            noise = self.draws.noise(x0, rows)
            told = {name: value[rows] for name, value in cond.items()}
            with self.losses.joined(join and rows.stop == n):
                with autocast(self.precision, self.device):
                    losses = self.losses(x0[rows], t[rows], noise, told)
                loss = losses.sum() / n
                self.scaler.scale(loss).backward()
            total += loss.detach()
            if join and hasattr(self.times, "observe"):
                self.times.observe(t[rows], losses.detach())
        return total

    def _apply(self, bad: Tensor) -> None:
        """Take the step unless it is ``bad``: a fused optimizer asks on the device, others wait for the answer.

        A network may have parameters to put right afterwards; see :class:`~diffkit.contracts.network.Constrained`.
        """
        optimizer: Any = self.torch_optimizer
        if self._asks_on_device:
            optimizer.found_inf, optimizer.grad_scale = bad, None
            optimizer.step()
        elif not bad:
            optimizer.step()
        self.scaler.update()
        if self._constrain is not None:
            self._constrain()

    def _batch(self) -> tuple[Tensor, dict[str, Tensor]]:
        self.draws.at(self.step, self.failures)
        x, cond = self.stream.batch(self.step + self.failures * AFRESH)
        if self.augment is not None:
            x = self.draws.augmented(x, self.augment)
        x = x.to(self.device, non_blocking=True)
        if self.encoder is not None:
            with torch.no_grad():
                x = self.encoder.encode(x)
        told = {name: value for name, value in cond.items() if name in self.told}
        cond = self.draws.dropped(told, self.condition_dropout)
        return x, {name: value.to(self.device, non_blocking=True) for name, value in cond.items()}

    def _fitting(self) -> int:
        """Return the largest micro-batch, halved from the whole, that fits into memory on every rank.

        Room is left for what an optimizer keeps, of which there is nothing before the first step.
        """
        x0, cond = self._batch()
        t = self.denoiser.draw_times(len(x0), generator(self.seed, "fitting"))
        micro, moments = len(x0), 0 if self.torch_optimizer.state else MOMENTS
        try:
            kept = [torch.empty_like(p) for p in local(self.parameters) for _ in range(moments)]
        except RuntimeError as error:
            raise self._too_large() from error
        while True:
            full: RuntimeError | None = None
            try:
                self._backward(x0[:micro], t[:micro], {k: v[:micro] for k, v in cond.items()}, micro, join=False)
            except RuntimeError as error:
                if not _out_of_memory(error):
                    raise
                full = error
            finally:
                self.torch_optimizer.zero_grad(set_to_none=True)
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
            if not self.ranks.any(full is not None):  # ranks halve together: under FSDP2 none computes alone
                del kept
                return micro
            if micro == 1:
                raise self._too_large() from full
            micro = -(-micro // 2)

    def _too_large(self) -> DiffkitError:
        if self.micro_batch in (1, "auto"):
            said = ", even one item at a time; take a smaller network, or recompute its blocks: net.checkpoint=true"
        else:
            said = "; take it in smaller parts, which changes nothing else: train.micro_batch=auto, or a number"
        return DiffkitError(
            f"a batch of {len(self.draws.rows)} items does not fit into the memory of {self.device}{said}"
        )

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors of the state, by file and name: the network's, their averages' and the optimizer's.

        Those of a weighting that learns, and of times that adapt, come besides. What is in shards stays in them.
        """
        moments = {
            f"{index}.{name}": value
            for index, values in self.torch_optimizer.state_dict()["state"].items()
            for name, value in values.items()
            if isinstance(value, Tensor)
        }
        files = {"model": self.denoiser.net.state_dict(), **self.average.state(), "optimizer": moments}
        learned = {"weighting": self.weighting.state_dict(), "times": self.times.state_dict()}
        return files | {file: values for file, values in learned.items() if values}

    def layout(self) -> Callable[[str, str], Tensor | None] | None:
        """Return what gives, by file and name, the tensor that one to be restored shall be in shards as, if any are.

        A moment of the optimizer is in shards as its parameter is.
        """
        if not self.in_shards:
            return None
        known: dict[str, Mapping[str, Tensor]] = {"model": self.denoiser.net.state_dict(), **self.average.state()}
        ordered = [p for group in self.torch_optimizer.param_groups for p in group["params"]]

        def like(file: str, name: str) -> Tensor | None:
            return ordered[int(name.partition(".")[0])] if file == "optimizer" else known.get(file, {}).get(name)

        return like

    def numbers(self) -> dict[str, Any]:
        """Return the rest of the state, as JSON: the step, and what of the optimizer's state is no tensor."""
        state = self.torch_optimizer.state_dict()
        plain = {
            str(index): {name: value for name, value in values.items() if not isinstance(value, Tensor)}
            for index, values in state["state"].items()
        }
        return {
            "step": self.step,
            "failures": self.failures,
            "optimizer": {"plain": plain, "groups": state["param_groups"]},
            "guard": self.guard.state(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, tensors: dict[str, dict[str, Tensor]], numbers: dict[str, Any]) -> None:
        """Take over the state that :meth:`tensors` and :meth:`numbers` gave."""
        self.denoiser.net.load_state_dict(tensors["model"])
        self.average.load(tensors)
        self.weighting.load_state_dict(tensors.get("weighting", {}))
        self.times.load_state_dict(tensors.get("times", {}))
        state: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in numbers["optimizer"]["plain"].items()}
        for name, value in tensors["optimizer"].items():
            index, _, field = name.partition(".")
            state[int(index)][field] = value
        groups = [dict(group) for group in numbers["optimizer"]["groups"]]
        self.torch_optimizer.load_state_dict({"state": state, "param_groups": groups})
        self.guard.load(numbers["guard"])
        self.scaler.load_state_dict(numbers["scaler"])
        self.step, self.failures = numbers["step"], numbers["failures"]


def autocast(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context that runs a network in ``precision``."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16 if precision == "bf16" else torch.float16)


def _out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
