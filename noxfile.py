"""The checks of this repository, each in an environment of its own: ``nox -l`` lists them, ``nox -s core`` runs one."""

import re
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests", "core", "isolated"]

ROOT = Path(__file__).parent
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
REQUIREMENTS = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()


def required(*names: str) -> list[str]:
    """Return the lines of requirements.txt for ``names``, so that versions are written once."""
    return [line for line in REQUIREMENTS if re.split(r"[=<>]", line)[0] in names]


def first_party(plugin: str) -> set[str]:
    """Return a plugin and the first-party plugins that it depends on."""
    project = tomllib.loads((ROOT / "plugins" / plugin / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needs = {re.split(r"[^\w-]", dependency)[0] for dependency in project["dependencies"]}
    return {plugin}.union(*(first_party(other) for other in needs & set(PLUGINS)))


def install_wheels(session: nox.Session, *folders: Path) -> None:
    """Build the wheel of each folder, by way of its sdist; install them with pytest and the pinned torch, no more."""
    session.install(*required("build", "setuptools"))
    built = Path(session.create_tmp(), "wheels")
    for folder in folders:
        out = str(built / folder.name)
        session.run("python", "-m", "build", "--no-isolation", "--outdir", out, str(folder), silent=True)
    session.install(*required("torch", "pytest", "hypothesis"), *map(str, built.glob("*/*.whl")))


@nox.session
def tests(session: nox.Session) -> None:
    """All tests, with everything installed from this folder."""
    session.install("-r", "requirements.txt")
    session.run("pytest", *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """The harness of faults at full length: hundreds of kills, damages and resumptions; half an hour."""
    session.install("-r", "requirements.txt")
    session.run("pytest", "tests/faults", "tests/hostile", "-s", *session.posargs, env={"FAULTS": "long"})


@nox.session
def lint(session: nox.Session) -> None:
    session.install(*required("ruff"))
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy, strict on the core."""
    session.install("-e", ".", *required("torch", "mypy"))
    session.run("mypy")


@nox.session
def core(session: nox.Session) -> None:
    """The core's wheel alone: it starts, says what is missing, and says what to install."""
    install_wheels(session, ROOT)
    session.run("pytest", "tests/alone", *session.posargs)


@nox.session
@nox.parametrize("plugin", PLUGINS, ids=PLUGINS)
def isolated(session: nox.Session, plugin: str) -> None:
    """The core's wheel and one plugin's, with what it depends on: the plugin's own tests pass."""
    install_wheels(session, ROOT, *(ROOT / "plugins" / name for name in sorted(first_party(plugin))))
    session.run("pytest", f"plugins/{plugin}", *session.posargs)
