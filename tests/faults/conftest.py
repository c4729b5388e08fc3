"""A harness of faults: processes that are killed, calls that fail, in numbers that ``FAULTS=long`` multiplies."""

import os
import signal
import sys
import traceback
from contextlib import contextmanager

import pytest
import torch

LONG = os.environ.get("FAULTS") == "long"
CALLS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "shutil.rmtree"}

plan = None


def _audit(event, arguments):
    """Python says what it is about to do; that is the moment for a fault."""
    if plan is not None and event in CALLS and str(arguments[0]).startswith(plan.below):
        plan.next()


sys.addaudithook(_audit)


class Plan:
    """Let call number ``number`` (from 0) below a folder be the last: it is killed, or fails with an error."""

    def __init__(self, below, number, fault):
        self.below, self.number, self.fault, self.count = str(below), number, fault, 0

    def next(self, descriptor=None):
        self.count += 1
        if self.count == self.number + 1:
            self.fault(descriptor)


@contextmanager
def at_call(below, number, fault):
    """Have ``fault(descriptor)`` happen at a call; the descriptor is that of a file about to be synced."""
    global plan
    fsync, plan = os.fsync, Plan(below, number, fault)

    def noted(descriptor):
        plan.next(descriptor)
        fsync(descriptor)

    os.fsync = noted
    try:
        yield plan
    finally:
        os.fsync, plan = fsync, None


def die(descriptor=None):
    """Be killed; of a file that is not synced, half may be on the disk."""
    if descriptor is not None and os.path.isfile(f"/proc/self/fd/{descriptor}"):
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)


class Child:
    """A process that does something, whose output is read while it does."""

    def __init__(self, do):
        self.output, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.dup2(writing, 1)
            sys.stdout = sys.stderr = open(1, "w", buffering=1, closefd=False)  # noqa: SIM115
            status = 1
            try:
                do()
                status = 0
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        os.close(writing)
        self.said = ""

    def read(self):
        """Return whether there is more."""
        more = os.read(self.output, 65536).decode()
        self.said += more
        return bool(more)

    def end(self, number=None):
        """Send a signal, if one is given; return the exit status, once all that was said is read."""
        if number is not None:
            os.kill(self.pid, number)
        while self.read():
            pass
        os.close(self.output)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)  # a fork has no other


@pytest.fixture
def faults():
    """What a test needs of this harness; with ``--import-mode=importlib`` it cannot import it."""

    class Harness:
        long = LONG

    Harness.Child, Harness.at_call, Harness.die = Child, staticmethod(at_call), staticmethod(die)
    return Harness
