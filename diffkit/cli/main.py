"""``diffkit``: a first word without ``=`` is a command; everything else goes to Hydra."""

import atexit
import gc
import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from diffkit.cli.usage import importing
from diffkit.errors import DiffkitError, plain

if TYPE_CHECKING:
    from omegaconf import DictConfig

USER_ERROR = 2
INTERRUPTED = 130


def main() -> None:
    """Run the command line and exit with its status."""
    words = sys.argv[1:]
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    warnings.showwarning = _show_warning
    atexit.register(gc.freeze)  # else Python looks for garbage among all of torch before it ends
    try:
        status = run(words)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\ndiffkit: interrupted", file=sys.stderr)
        status = INTERRUPTED
    except BrokenPipeError:
        status = 0
    except Exception as error:
        said = None if debug else _said(error)
        if said is None:
            _name_plugin(error)
            raise
        print(f"diffkit: {said}", file=sys.stderr)
        status = USER_ERROR
    try:
        sys.stdout.flush()
    except OSError:  # nobody reads on, or the disk is full: nothing more can be said there
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(status)


def _name_plugin(error: Exception) -> None:
    """Say below the traceback of a bug whose it is, where a plugin's code was the last to run before it."""
    from diffkit.plugins import behind

    plugin = behind(error)
    if plugin is not None and not isinstance(error, DiffkitError):
        error.add_note(f"diffkit: this happened in {plugin.package} {plugin.version}; tell whoever makes that package")


def _said(error: Exception) -> str | None:
    """Return the sentence that an error is told by, or none for a bug."""
    if isinstance(error, DiffkitError):
        return str(error)
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where} (diffkit … --debug shows where)"
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "memory" in str(error)):  # a GPU's
        return (
            "out of memory; lower train.batch_size or train.micro_batch, or sample.batch_size; what was saved is kept"
        )
    return None


def run(words: Sequence[str]) -> int:
    """Run one command line; return its exit status.

    Raises:
        DiffkitError: for a mistake in it.
    """
    first = words[0] if words else ""
    if first == "help" or (_trains(first) and {"--help", "-h"} & set(words)):
        from diffkit.cli.help import print_help

        print_help()
        return 0
    if first == "--version":
        import diffkit

        print(f"diffkit {diffkit.__version__}")
        return 0
    if not _trains(first):
        from diffkit import catalog

        if first.rpartition(".")[2] not in {entry.name for entry in catalog.entries("command")}:
            from diffkit.errors import did_you_mean, listing

            commands = catalog.names("command")
            hint = did_you_mean(first, commands)
            raise DiffkitError(
                f"there is no command '{first}'{hint}; commands: {listing(commands)}; "
                f"a setting is KEY=VALUE (see diffkit --help)"
            )
        entry = catalog.find("command", first)
        with importing():
            command = entry.load()
        if {"--help", "-h"} & set(words[1:]):
            print(f"diffkit {first}: {entry.component.summary}")
            print(" ".join(str(command.__doc__).split()))
            return 0
        status: int = command(words[1:])
        return status
    with importing():  # until there is a job
        return _train(words)


def _trains(first: str) -> bool:
    """Return whether a command line that begins so is of flags and settings, and names no command."""
    return not first or "=" in first or first.startswith(("-", "+", "~"))


def _train(words: Sequence[str]) -> int:
    """Hand the words to Hydra, which composes and calls back, once a job."""
    import hydra

    from diffkit.config.explain import explained
    from diffkit.config.source import register
    from diffkit.config.words import normalise, split_flags
    from diffkit.paths import CONF

    overrides, flags = split_flags(words)
    own_config = any(
        flag.startswith(("--config-name", "-cn", "--config-dir", "-cd", "--config-path", "-cp")) for flag in flags
    )
    main_process, failed, statuses = os.getpid(), list[DiffkitError](), [0]

    def job(config: "DictConfig") -> None:
        try:
            status = _job(config)
        except DiffkitError as error:
            if os.getpid() != main_process:  # some launchers run jobs elsewhere, and carry an error back
                raise
            failed.append(error)
            status = USER_ERROR
            if _swept():  # the others may be as they should be
                _left_out(error)
                return
        statuses.append(status)
        if status:  # Hydra lets this pass, where it would announce another exception with a line of its own
            raise SystemExit(status)

    register()
    words = [_last_now(word) for word in normalise(overrides, _own_keys(flags) if own_config else ())]
    sys.argv = [sys.argv[0], *flags, *words]
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra hands errors on instead of printing them and exiting with 1
    try:
        with explained():
            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(job)()
    except SystemExit as stop:
        if failed:
            raise failed[0] from None
        return stop.code if isinstance(stop.code, int) else 0
    if failed:
        raise DiffkitError(
            f"{len(failed)} of {len(failed) + len(statuses) - 1} runs could not be trained, as said above"
        )
    return max(statuses)


def _swept() -> bool:
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    return bool(HydraConfig.get().mode == RunMode.MULTIRUN)


def _left_out(error: DiffkitError) -> None:
    """Say why a run of a sweep is left out, and leave no empty folder of it."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    print(f"diffkit: {error}", file=sys.stderr, flush=True)
    with suppress(OSError):
        Path(HydraConfig.get().runtime.output_dir).rmdir()


def _last_now(word: str) -> str:
    """Return a word with the run that ``last`` means now, as in ``adapt.run=last``: a sweep starts runs of its own."""
    key, _, value = word.partition("=")
    runs = value.split(",")
    if not key.endswith(".run") or "last" not in runs:
        return word
    from diffkit.run.folder import RunFolder

    path = str(RunFolder.find("last").path.resolve()).replace("\\", "\\\\").replace("'", "\\'")
    return f"{key}=" + ",".join(f"'{path}'" if run == "last" else run for run in runs)


def _job(config: "DictConfig") -> int:
    """Train the run of one composed config; return its exit status."""
    from pathlib import Path

    from hydra.core.hydra_config import HydraConfig

    with importing():
        from diffkit.config.compose import finish
        from diffkit.run.train import start

    hydra_config, swept = HydraConfig.get(), _swept()
    finished = finish(config, hydra_config.runtime.choices, hydra_config.overrides.task)
    ended = start(finished, Path(os.path.relpath(hydra_config.runtime.output_dir)) if swept else None)
    return ended.status


def _own_keys(flags: Sequence[str]) -> list[str]:
    """Return the top-level keys and groups that a user's own config folder brings."""
    from pathlib import Path

    from diffkit.config.folders import vet

    keys: list[str] = []
    for flag, value in zip(flags, [*flags[1:], ""], strict=True):
        name, _, attached = flag.partition("=")
        if name in ("--config-dir", "-cd", "--config-path", "-cp"):
            folder = Path(attached or value)
            if folder.is_dir():
                vet(folder)
                keys += [path.stem for path in folder.iterdir() if not path.name.startswith(".")]
                for path in folder.glob("*.yaml"):
                    keys += [
                        line.partition(":")[0] for line in path.read_text(encoding="utf-8").splitlines() if ":" in line
                    ]
    return keys


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"warning: {plain(str(message))}", file=sys.stderr)
