"""Processes that fetch the batches to come, and that are started again where they die or stall."""

import ctypes
import os
import pickle
import signal
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol

import torch
from torch import Tensor

from diffkit.data.fetch import Batch
from diffkit.errors import DiffkitError

METHOD = "fork" if sys.platform == "linux" else "spawn"
"""Forking is instant and takes any data set along; system libraries other than Linux's do not survive it."""
AHEAD = 2
"""How many batches each worker is ahead."""
ATTEMPTS = 3
"""How often a batch is tried."""
PATIENCE = 300.0
"""Seconds without an answer after which a worker counts as stalled."""
LOOK = 1.0
"""Seconds between two looks: of the training for an answer, of a worker for the training."""
PR_SET_PDEATHSIG = 1
"""Of Linux's prctl: the signal a process gets when its parent ends."""

Memory = Mapping[str, Any]
"""A slot's arrays of bytes, by what they hold."""


class Source(Protocol):
    """Where a worker has batches from."""

    def batch(self, step: int) -> Batch:
        """Return the batch of ``step``."""
        ...


class Lost(Exception):
    """A worker that will not answer; the text says what became of it."""


class Workers:
    """Worker k fetches every step that leaves k when divided by their number, a few steps ahead.

    Batches arrive in shared memory, two slots a worker, and are copied out before a slot is used again. All else that
    passes is the number of a step, through a pipe of each worker's own: there is no lock that a killed worker could
    hold, and nobody ever waits to write.

    Args:
        source: is sent to every worker, or inherited where processes are forked.
        like: a batch of the form of all batches.
        count: the number of workers.
        timeout: seconds to wait for a worker before it is started again. A worker has spent the time that the training
            spent on the steps before, so only one that hangs takes so long.
    """

    def __init__(self, source: Source, like: Batch, count: int, timeout: float = PATIENCE) -> None:
        self._context = get_context(METHOD)
        self._source, self._timeout = source, timeout
        self._like = {"x": like[0], **like[1]}
        self._memory = [
            {name: self._context.RawArray(ctypes.c_byte, value.nbytes) for name, value in self._like.items()}
            for _ in range(AHEAD * count)
        ]
        self._slots = [_tensors(memory, self._like) for memory in self._memory]
        self._seek, self._next = 0, -1  # answers to what was asked before a seek are passed over
        self._workers = [Worker(number) for number in range(count)]

    def batch(self, step: int, pinned: bool = False) -> Batch:
        """Return the batch of ``step``, copied, and have those after it fetched; rising steps are fast."""
        expected, self._next = self._next, -1  # whatever goes wrong now, the next call starts anew
        if step != expected:
            self._seek += 1
            for worker in self._workers:
                self._ask(worker, step)
        worker = self._workers[step % len(self._workers)]
        self._await(worker, step)
        slot = self._slots[step % len(self._slots)]
        copied = {name: torch.empty_like(value, pin_memory=pinned).copy_(value) for name, value in slot.items()}
        worker.send((self._seek, step + len(self._slots)))
        self._next = step + 1
        return copied.pop("x"), copied

    def close(self) -> None:
        """End the workers."""
        for worker in self._workers:
            worker.send(None)
        for worker in self._workers:
            worker.end(patience=LOOK)
        self._next = -1

    def _ask(self, worker: "Worker", step: int) -> None:
        """Ask ``worker``, started where it does not run, for its share of ``step`` and those after it."""
        if worker.connection is None:
            worker.start(self._context, self._source, self._memory, self._like)
        count = len(self._workers)
        first = step + (worker.number - step) % count
        for wanted in range(first, step + len(self._slots), count):
            worker.send((self._seek, wanted))

    def _await(self, worker: "Worker", step: int) -> None:
        """Wait until ``step`` is fetched, whatever becomes of the worker meanwhile."""
        for attempt in range(1, ATTEMPTS + 1):
            try:
                error = worker.answer((self._seek, step), self._timeout)
            except Lost as lost:
                said = f"{worker} {lost} while it fetched the batch of step {step + 1}"
                worker.end()
                if attempt == ATTEMPTS:
                    raise DiffkitError(
                        f"{said}, as did {ATTEMPTS - 1} before it; see what the data does in the training process "
                        f"itself: train.workers=0, or give the workers less to hold: a smaller train.batch_size"
                    ) from None
                warnings.warn(f"{said}; another takes its place, and the batches stay the same", stacklevel=4)
                self._ask(worker, step)
            else:
                if error is not None:
                    raise error
                return


class Worker:
    """One worker, seen from the training process."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: BaseProcess | None = None
        self.connection: Connection | None = None

    def __str__(self) -> str:
        return f"data worker {self.number} (process {self.process.pid if self.process else 'gone'})"

    def start(self, context: BaseContext, *work: Any) -> None:
        """Start the process, and have it :func:`_serve`."""
        try:
            connection, theirs = context.Pipe()
            work = (theirs, os.getpid(), *work)
            process = context.Process(target=_serve, args=work, daemon=True)  # type: ignore[attr-defined]
            with _uninterrupted():
                process.start()
        except OSError as error:
            raise DiffkitError(
                f"data worker {self.number} cannot be started ({error.strerror or error}); have the training process "
                f"fetch the data itself: train.workers=0"
            ) from error
        self.process, self.connection = process, connection
        theirs.close()  # so that the pipe ends where the process does

    def send(self, request: tuple[int, int] | None) -> None:
        """Ask for a step, or for the end; that a worker is dead shows when its answer is waited for."""
        if self.connection is not None:
            with suppress(OSError):
                self.connection.send(request)

    def answer(self, request: tuple[int, int], timeout: float) -> Exception | None:
        """Wait until ``request`` is answered: with nothing where the batch is in its slot, or with what went wrong."""
        assert self.connection is not None
        waited = 0.0  # in looks: while the training itself is suspended, no time passes
        try:
            while True:
                while not self.connection.poll(LOOK):
                    waited += LOOK
                    if waited >= timeout:
                        raise Lost(f"gave no answer for {timeout:g} s")
                answered, error = self.connection.recv()
                if answered == request:
                    return error
        except (EOFError, OSError):
            raise Lost(self._end()) from None

    def end(self, patience: float = 0.0) -> None:
        """End the process, with force when it takes longer than ``patience`` seconds."""
        if self.process is not None:
            self.process.join(patience)
            self.process.kill()  # which ends a stopped one, too
            self.process.join()
        if self.connection is not None:
            self.connection.close()
        self.process = self.connection = None

    def _end(self) -> str:
        """Return how the process ended."""
        assert self.process is not None
        self.process.join(LOOK)
        code = self.process.exitcode
        if code is not None and code < 0:
            why = " (the system does so when memory runs out)" if code == -signal.SIGKILL else ""
            return f"was ended by {signal.Signals(-code).name}{why}"
        return f"ended with status {code}"


@contextmanager
def _uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C back for a while, so that a new process does not get it before it says that it ignores it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, parent: int, source: Source, memory: list[Memory], like: dict[str, Tensor]) -> None:
    """Fetch what is asked for until the parent says that it is enough, or is gone."""
    if (
        sys.platform == "linux"
    ):  # a forked worker must not outlive the training by a moment: it holds what that had locked
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal; the parent decides
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    torch.set_num_threads(1)  # a forked process has none of its parent's threads, and would wait for them
    slots = [_tensors(slot, like) for slot in memory]
    while True:
        while not connection.poll(LOOK):
            if os.getppid() != parent:
                return
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        if request is None:
            return
        _, step = request
        error = None
        try:
            x, cond = source.batch(step)
            _put({"x": x, **cond}, slots[step % len(slots)])
        except Exception as raised:
            error = _portable(raised)
        try:
            connection.send((request, error))
        except OSError:
            return


def _tensors(memory: Memory, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.frombuffer(memory[name], dtype=one.dtype).view(one.shape) for name, one in like.items()}


def _put(batch: dict[str, Tensor], slot: dict[str, Tensor]) -> None:
    for name, value in batch.items():
        if value.shape != slot[name].shape:
            shapes = f"{tuple(value.shape)} instead of {tuple(slot[name].shape)}"
            raise DiffkitError(f"the data's '{name}' is, batched, {shapes} as its spec says; mend the data set")
        slot[name].copy_(value)


def _portable(error: Exception) -> Exception:
    """Return an error as it can be sent, with the worker's traceback."""
    error.add_note(f"in a data worker:\n{traceback.format_exc()}")
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
