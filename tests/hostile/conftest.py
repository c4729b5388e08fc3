"""What strangers' files are held to: no code, no file that is not theirs, no memory without end, no secret told."""

import resource
import signal
import sys
from contextlib import contextmanager

import pytest

from diffkit import DiffkitError

SECRET = "hunter2-5f1e0c"
FORBIDDEN = (
    "os.system",
    "subprocess.Popen",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "pickle.find_class",
    "socket.connect",
)
SECONDS, MEGABYTES = 60, 400

seen: list[str] | None = None


def _audit(event, arguments):
    if seen is None:
        return
    harmless = event == "subprocess.Popen" and arguments[0] == "uname"  # Python's own platform.processor()
    if (event in FORBIDDEN and not harmless) or (event == "open" and "canary" in str(arguments[0])):
        seen.append(f"{event} {arguments!r}")


sys.addaudithook(_audit)


@contextmanager
def watch():
    """Note what Python itself reports of what is done inside."""
    global seen
    seen = noted = []
    try:
        yield noted
    finally:
        seen = None


def too_long(number, frame):
    raise AssertionError(f"it takes longer than {SECONDS} seconds")


@pytest.fixture
def attempt(tmp_path, monkeypatch, capfd):
    """Return a function that does something with what a stranger wrote, and holds it to the promises.

    It returns the sentence it was refused with, or nothing where it was not refused. ``attempt.canary`` is a file that
    may be neither read nor written, ``attempt.owned`` one that only hostile code would make, and the module
    ``hostile_module`` one that makes it when it is imported.
    """
    canary, owned = tmp_path / "elsewhere/canary.txt", tmp_path / "owned"
    canary.parent.mkdir()
    canary.write_text(SECRET)
    (tmp_path / "path").mkdir()
    (tmp_path / "path/hostile_module.py").write_text(f"open({str(owned)!r}, 'w')\nclass Evil: pass\n")
    monkeypatch.syspath_prepend(str(tmp_path / "path"))
    monkeypatch.setenv("CANARY_TOKEN", SECRET)
    monkeypatch.setenv("CANARY_OWNED", str(owned))

    def tried(do, *arguments, **options):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = None
        earlier = signal.signal(signal.SIGALRM, too_long)
        signal.alarm(SECONDS)
        try:
            with watch() as noted:
                do(*arguments, **options)
        except DiffkitError as error:
            said = str(error)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, earlier)
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        out, err = capfd.readouterr()
        assert noted == []
        assert not owned.exists(), "code was run"
        assert sorted(path.name for path in canary.parent.iterdir()) == ["canary.txt"], "a file was written elsewhere"
        assert canary.read_text() == SECRET
        assert grown < MEGABYTES, f"{grown:.0f} MB"
        for text in (said or "", out, err):
            assert SECRET not in text
        if said is not None:
            assert said.isprintable(), "one line, and nothing that a terminal obeys"
        return said

    tried.canary, tried.owned = canary, owned
    return tried


@pytest.fixture
def refused(attempt):
    """Return :func:`attempt` for what has to be refused."""

    def tried(*arguments, **options):
        said = attempt(*arguments, **options)
        assert said is not None, "it was taken"
        return said

    tried.canary, tried.owned = attempt.canary, attempt.owned
    return tried
