"""A run while it trains: what happens between steps, and how it ends."""

import math
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from omegaconf import OmegaConf

from diffkit.catalog import build
from diffkit.config.settings import seconds
from diffkit.contracts.training import Callback, Tracker
from diffkit.errors import DiffkitError
from diffkit.flops import peak
from diffkit.progress import Progress
from diffkit.run import checkpoint
from diffkit.run.averages import followed, snapshots
from diffkit.run.folder import RunFolder
from diffkit.run.load import load_model
from diffkit.run.model import Model
from diffkit.run.sampling import write_samples
from diffkit.run.stop import stop_signals
from diffkit.run.validation import Validation
from diffkit.secrets import redacted
from diffkit.training import Step, Trainer

OUT_OF_TIME = 75
"""The exit status of a run that ``train.time`` ended: "try again later" in sysexits.h, so schedulers may requeue it."""
HOPELESS = 10
"""After how many steps in a row that were not taken the run goes back to its last checkpoint."""
FAILURES = 3
"""How often it does so before it gives up."""


@dataclass(frozen=True)
class Run:
    """A run that ended: its folder, the last step, the sheet of samples, and the exit status for a command.

    The status is 0 where all steps were taken, 75 where ``train.time`` was up, and 128 and the signal's number where a
    signal stopped it; in both cases ``diffkit resume`` goes on.
    """

    path: Path
    step: int
    sheet: Path | None = None
    status: int = 0


class Life:
    """Trains, and logs, saves, validates and samples when it is time; of several ranks, the first writes and prints.

    Args:
        folder: where the run is.
        model: what is trained, with what it is sampled by.
        trainer: takes the steps.
        validation: judges the model on held-out data.
        work: floating-point operations of a forward pass for one item.
    """

    def __init__(
        self, folder: RunFolder, model: Model, trainer: Trainer, validation: Validation | None, work: int
    ) -> None:
        self.folder, self.model, self.trainer, self.validation, self.work = folder, model, trainer, validation, work
        self.config, self.ranks = model.config, trainer.ranks
        first = self.ranks.first
        chosen = {kind: self.config.get(kind) for kind in ("tracker", "callback")}
        self.callback: Callback | None = None if chosen["callback"] is None else build("callback", chosen["callback"])
        self.tracker: Tracker | None = (
            build("tracker", chosen["tracker"]) if first and chosen["tracker"] is not None else None
        )
        self.progress = Progress("train", trainer.steps, trainer.step, quiet=not first)
        groups = [self.ranks.beside() if trainer.in_shards else None for _ in range(2)]
        self.writer = checkpoint.Writer(
            folder.checkpoints, self.config.train.keep, lambda path: self._say(f"saved    {path}"), groups[0]
        )
        self.snapshots = checkpoint.Writer(snapshots(folder), keep=0, group=groups[1])
        self.began = time.monotonic()

    def run(self) -> Run:
        """Train to the last step, or until a signal, the time limit or the callback ends it."""
        if self.tracker is not None:
            self.tracker.start(self.folder.path, redacted(OmegaConf.to_container(self.config)))
        try:
            with stop_signals() as stopped, self.progress, self.writer, self.snapshots:
                status = self._train(stopped)
            if status:
                self._say(f"stopped  at step {self.trainer.step} of {self.trainer.steps}; everything is saved")
                self._say(f"next     diffkit resume {self.folder.path}")
                return Run(self.folder.path, self.trainer.step, status=status)
            sheet = self._sample(quiet=False)
        finally:
            self.trainer.stream.close()
            if self.tracker is not None:
                self.tracker.close()
        self._say(f"samples  {sheet}")
        self._say(
            f"next     diffkit sample {self.folder.path} sample.n=64    or    diffkit resume {self.folder.path} "
            f"train.steps={2 * self.trainer.steps}"
        )
        return Run(self.folder.path, self.trainer.step, sheet)

    def _train(self, stopped: list[int]) -> int:
        """Take the steps; return 0, or the status of a run that was stopped before the last."""
        train, limit = self.config.train, seconds(self.config.train.time)
        while True:
            for step in self.trainer.run():
                if train.compile and step.number == self.trainer.first:
                    self._say(f"compile  the first step took {time.monotonic() - self.began:.0f} s")
                last = step.number == self.trainer.steps
                log = step.number % train.log_every == 0 or last
                ended = log and self._log(step)
                if log and self._hopeless(step):
                    break
                if _due(step.number, train.validate_every) and self.validation is not None:
                    ended = self._record(step.number, self.validation(self.trainer)) or ended
                stop = False
                if log or self.ranks.size == 1:  # ranks stop together, and asking them all takes time
                    stop = self.ranks.any(bool(stopped) or time.monotonic() - self.began > limit)
                if last or stop or ended or _due(step.number, train.save_every):
                    self._save(whatever=last or stop or ended)
                if last or ended:
                    return 0
                if stop:
                    return 128 + stopped[0] if stopped else OUT_OF_TIME
                if _due(step.number, train.sample_every):
                    self._look()

    def _log(self, step: Step) -> bool:
        """Log a step; return whether the callback ends the run."""
        values = {"loss": self.ranks.mean(step.loss).item(), "grad_norm": step.grad_norm.item(), "lr": step.lr}
        values["steps_per_second"] = rate = self.progress.rate(step.number)
        values["items_per_second"] = rate * self.trainer.batch_size
        speed = 3 * self.work * values["items_per_second"]  # forward, and twice as much backward
        values["tflops"] = speed / 1e12
        most = peak(self.trainer.device, self.config.precision)
        if most is not None:
            values["utilisation"] = speed / (most * self.ranks.size)
        values["skipped"] = self.trainer.guard.skipped.item()
        if not math.isfinite(values["loss"]):
            return False
        self.progress.update(step.number, loss=values["loss"])
        return self._record(step.number, values)

    def _record(self, step: int, values: dict[str, float]) -> bool:
        """Log values wherever they go; return whether the callback ends the run."""
        if self.ranks.first:
            self.folder.log({"step": step, **values})
        self._track(lambda tracker: tracker.log(step, values))
        ended = self.callback is not None and self.callback.after_log(step, values)
        if ended:
            self._say(f"ended    at step {step}, by callback={self.config.callback.name}")
        return ended

    def _track(self, tell: Callable[[Tracker], None]) -> None:
        """Tell the tracker something; a server that does not answer now is no reason to end a training."""
        if self.tracker is None:
            return
        try:
            tell(self.tracker)
        except Exception as error:
            why = " ".join(str(error).split())[:200]
            self._say(f"note     tracker={self.config.tracker.name} was not told of step {self.trainer.step}: {why}")

    def _hopeless(self, step: Step) -> bool:
        """Go back to the last checkpoint, and on from there with other batches, if no step can be taken any more.

        Where none could be taken since it was there, its parameters are what is wrong, and an older one is better.

        Raises:
            DiffkitError: where there is none, or this has happened too often.
        """
        if self.trainer.guard.in_a_row.item() < HOPELESS:
            return False
        self.writer.wait()
        self.ranks.wait()
        failures = self.trainer.failures + 1
        began = self.trainer.first - 1
        taken = self.trainer.guard.in_a_row.item() < step.number - began
        older = checkpoint.steps(self.folder.checkpoints, None if taken else began)
        before = began if self.ranks.told(bool(older)) and not taken else None
        loss, norm = step.loss.item(), step.grad_norm.item()
        said = f"the loss is {loss:.4g} at step {step.number}, and the gradient's norm {norm:.4g}"
        if failures > FAILURES or not checkpoint.steps(self.folder.checkpoints):
            raise DiffkitError(f"{said}; the last checkpoint is kept; lower optim.lr, or train.clip, and start again")
        _, tensors, numbers, _ = checkpoint.newest(
            self.folder.checkpoints, tuple(self.trainer.tensors()), self.trainer.layout(), self.ranks, before
        )
        self.trainer.restore(tensors, numbers)
        self.trainer.failures = failures
        self._say(f"note     {said}; back to step {self.trainer.step}, and on with other batches")
        if self.ranks.first:
            self.folder.trim_metrics(self.trainer.step)
        return True

    def _save(self, whatever: bool) -> None:
        """Write a checkpoint, unless steps just now were not taken: then those before may be all that is good.

        One that is written all the same, as nothing else will be, leaves all of them there.
        """
        doubtful = bool(self.trainer.guard.in_a_row.item())
        if whatever or not doubtful:
            tensors, numbers = self.trainer.tensors(), self.trainer.numbers()
            if self.ranks.first or self.trainer.in_shards:
                powers = {file: tensors[file] for file in self.trainer.average.powers}
                if powers:
                    lengths = list(self.config.train.ema_lengths)
                    self.snapshots.save(powers, {"step": numbers["step"], "lengths": lengths})
                self.writer.save(tensors, numbers, prune=not doubtful)
            self.ranks.wait()

    def _look(self) -> None:
        """Draw samples midway; where that cannot be done, the training goes on, which may find its way back."""
        if self.trainer.guard.in_a_row.item():
            self._say(f"note     no samples at step {self.trainer.step}, as steps just now were not taken")
            return
        if self.trainer.in_shards:  # one rank alone has no whole network, but can join one from what was saved
            self._save(whatever=False)
            self.writer.wait()
        try:
            sheet = self._sample(quiet=True)
        except DiffkitError as error:
            self.model.denoiser.train()
            self._say(f"note     no samples at step {self.trainer.step}: {error}")
            self.ranks.wait()
        else:
            self._say(f"samples  {sheet}")

    def _sample(self, quiet: bool) -> Path:
        """Draw samples with the averaged parameters, on the first rank; return the sheet."""
        target = self.folder.samples / f"step-{self.trainer.step:08d}"
        if self.ranks.first:
            shutil.rmtree(target, ignore_errors=True)
        if self.trainer.in_shards:
            if self.ranks.first:
                self.writer.wait()
                model, _ = load_model(self.folder, self.config)
                write_samples(model, target, n=self.config.sample.n, quiet=quiet)
        elif self.ranks.first:
            with self.trainer.average.swapped(followed(self.config) or "ema"):
                write_samples(self.model, target, n=self.config.sample.n, quiet=quiet)
        self.model.denoiser.train()
        sheet = target / "sheet.png"
        self._track(lambda tracker: tracker.sheet(self.trainer.step, sheet))
        self.ranks.wait()
        return sheet

    def _say(self, text: str) -> None:
        if self.ranks.first:
            self.progress.say(text)


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0
