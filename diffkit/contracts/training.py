"""What a training run is made of besides model and data."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from diffkit.contracts.network import DataSpec

if TYPE_CHECKING:
    from diffkit.denoiser import Denoiser


@runtime_checkable
class Optimizer(Protocol):
    """An optimizer and its learning-rate schedule; ``lr`` is the learning rate at its peak."""

    lr: float

    def create(self, net: nn.Module) -> torch.optim.Optimizer:
        """Return a torch optimizer over the parameters of ``net``."""
        ...

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of step ``step`` (from 0) of ``steps``."""
        ...


@runtime_checkable
class Adaptation(Protocol):
    """Fine-tuning: where a network starts, and what of it is trained.

    Checkpoints hold the whole network as :meth:`change` leaves it, so a fine-tuned run needs no other run.
    """

    def change(self, net: nn.Module) -> None:
        """Change a freshly built network: put layers in, or freeze parameters by ``requires_grad``.

        It is called whenever a run's model is built: to train, to go on and to load. It does the same each time.
        """
        ...

    def start(self, denoiser: "Denoiser") -> Sequence[str]:
        """Give the changed network its first weights, once, before a new training; return what to say, a line each."""
        ...

    def merge(self, net: nn.Module) -> None:
        """Turn a changed network back into one of its own kind that computes the same, all of it trainable."""
        ...


@runtime_checkable
class Metric(Protocol):
    """A number that says how good samples are."""

    def __call__(self, samples: Tensor, reference: Tensor, spec: DataSpec) -> Mapping[str, float]:
        """Return named values for ``samples`` and ``reference`` items, each ``(n, channels, *shape)``."""
        ...


@runtime_checkable
class Tracker(Protocol):
    """A place besides metrics.jsonl where a run's numbers go."""

    def start(self, folder: Path, config: Mapping[str, Any]) -> None:
        """Called once, when training starts or resumes in ``folder``."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Called every ``train.log_every`` steps."""
        ...

    def sheet(self, step: int, path: Path) -> None:
        """Called when samples were drawn and their sheet was written to ``path``."""
        ...

    def close(self) -> None:
        """Called once, when training ends for whatever reason."""
        ...


@runtime_checkable
class Callback(Protocol):
    """A say in the training loop."""

    def after_log(self, step: int, values: Mapping[str, float]) -> bool:
        """Called with the logged values; return true to stop training here (and save)."""
        ...
