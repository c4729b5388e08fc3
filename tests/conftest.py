"""What the tests share: a stranger's package on the path, the installed command, and a run to work on."""

import hashlib
import importlib
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path

import pytest
import torch

OUTSIDE = Path(__file__).parent / "outside"
STARTER = Path(__file__).parent / "starter.py"
COMMAND = Path(sysconfig.get_path("scripts"), "diffkit")


def lay_out(folder, package, version, points):
    """Write what pip would: the metadata by which Python finds a distribution and its entry points."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = "".join(f"{name} = {target}\n" for name, target in points.items())
    (info / "entry_points.txt").write_text(f"[diffkit]\n{lines}")


@pytest.fixture(scope="session")
def outside_path(tmp_path_factory):
    """A folder that holds the outside package as pip would install it."""
    folder = tmp_path_factory.mktemp("outside")
    shutil.copytree(
        OUTSIDE / "src/diffkit_spirals", folder / "diffkit_spirals", ignore=shutil.ignore_patterns("__pycache__")
    )
    project = tomllib.loads((OUTSIDE / "pyproject.toml").read_text())["project"]
    lay_out(folder, project["name"], project["version"], project["entry-points"]["diffkit"])
    return folder


def forget():
    """Let diffkit look again at what is installed."""
    from diffkit import catalog, plugins

    importlib.invalidate_caches()
    plugins.installed.cache_clear()
    catalog._entries.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def outside(outside_path):
    """Install the outside package for the tests of a module, and take it away after them."""
    sys.path.insert(0, str(outside_path))
    forget()
    yield
    sys.path.remove(str(outside_path))
    forget()


@pytest.fixture
def make_plugin(tmp_path):
    """Return a function that writes a plugin, one module of hooks, and returns the folder to put on the path."""
    folder = tmp_path / "site"

    def make(package, source, version="1.0"):
        module = package.replace("-", "_")
        lay_out(folder, package, version, {module: module})
        (folder / f"{module}.py").write_text(f"from diffkit import Component, DiffkitError, hookimpl\n\n{source}")
        return folder

    return make


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Return a function that puts a folder of plugins on this process's path."""

    def put(folder):
        monkeypatch.syspath_prepend(str(folder))
        forget()

    yield put
    monkeypatch.undo()
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]
    forget()


@pytest.fixture
def one_thread():
    """Sums are the same to the bit only over the same number of threads, of which commands have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    """Return a function that makes a command's environment: folders on its path, one thread, a cache of its own."""
    cache = tmp_path_factory.mktemp("cache")

    def make(*path, **changes):
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("DIFFKIT", "HYDRA"))}
        given = {"PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1", "DIFFKIT_CACHE": str(cache)}
        return {**inherited, **given, "COLUMNS": "200", **changes}

    return make


@pytest.fixture(scope="session")
def started():
    """Return a function that runs the installed command, given what subprocess.run takes; see starter.py."""
    pipe = subprocess.PIPE
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, STARTER], stdin=pipe, stdout=pipe, text=True, env=environment) as starter:

        def run(words, *, cwd, env):
            with tempfile.NamedTemporaryFile("r") as out, tempfile.NamedTemporaryFile("r") as err:
                request = {"words": words, "cwd": str(cwd), "env": env, "stdout": out.name, "stderr": err.name}
                starter.stdin.write(json.dumps(request) + "\n")
                starter.stdin.flush()
                status = int(starter.stdout.readline())
                return subprocess.CompletedProcess(words, status, out.read(), err.read())

        yield run
        starter.stdin.close()


@pytest.fixture
def command(tmp_path, outside_path, environment, started):
    """Return a function that runs the installed command in an empty folder, the outside package installed."""
    folder = tmp_path / "work"
    folder.mkdir()

    def run(*words, cwd=folder, path=(), env=None, preexec_fn=None):
        words, env = [str(COMMAND), *map(str, words)], environment(*path, outside_path, **(env or {}))
        if preexec_fn is None:
            return started(words, cwd=cwd, env=env)
        return subprocess.run(
            words, cwd=cwd, env=env, preexec_fn=preexec_fn, capture_output=True, text=True, timeout=300
        )

    run.folder = folder
    return run


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory, outside_path, environment):
    """A run of thirty steps with checkpoints at 20 and 30, written by the installed command."""
    folder = tmp_path_factory.mktemp("trained")
    words = [
        "recipe=spirals",
        "train.steps=30",
        "train.save_every=10",
        "train.log_every=10",
        "sample.n=4",
        "device=cpu",
    ]
    done = subprocess.run(
        [COMMAND, *words], cwd=folder, env=environment(outside_path), capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return next((folder / "runs/spirals").iterdir())


@pytest.fixture
def trained(trained_once, tmp_path):
    """A copy of that run, to damage at will."""
    return Path(shutil.copytree(trained_once, tmp_path / "trained"))


def contents(folder):
    """Return the digest of every file below a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else None
        for path in sorted(Path(folder).rglob("*"))
    }


@pytest.fixture(name="contents")
def contents_(monkeypatch):
    """Return the function that takes stock of a folder."""
    return contents


@pytest.fixture
def python(tmp_path, outside_path, environment):
    """Return a function that runs a script in a process of its own, the outside package installed."""

    def run(source, *words, cwd=tmp_path, env=None, options=()):
        return subprocess.run(
            [sys.executable, *options, "-c", source, *map(str, words)],
            cwd=cwd,
            env=environment(outside_path, **(env or {})),
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run
