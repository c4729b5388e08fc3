"""``diffkit doctor``: is this installation sound, and what can it do?"""

import importlib.util
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from diffkit import catalog
from diffkit.errors import DiffkitError
from diffkit.kinds import KINDS
from diffkit.plugins import DISABLE, installed

PACKAGES = ("torch", "hydra-core", "omegaconf", "pluggy", "rich", "safetensors", "numpy", "pillow")


def doctor(words: Sequence[str]) -> int:
    """Print a line a check, each with what to do about it; return 1 where one failed."""
    if words:
        raise DiffkitError(f"diffkit doctor takes no words, but got '{' '.join(words)}'; type diffkit doctor")
    checks: tuple[Callable[[], tuple[bool, str]], ...] = (
        _python, _packages, _torch, _binaries, _plugins, _conflicts, _imports, _kinds, _writable
    )  # fmt: skip
    results = [check() for check in checks]
    for good, text in results:
        print(f"{'ok      ' if good else 'PROBLEM '} {text}")
    return 0 if all(good for good, _ in results) else 1


def _python() -> tuple[bool, str]:
    return True, f"Python {platform.python_version()} on {platform.platform()}, {os.cpu_count()} processors"


def _packages() -> tuple[bool, str]:
    found, missing = [], []
    for package in PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            missing.append(package)
    return not missing, ", ".join(found) + (f"; missing: pip install {' '.join(missing)}" if missing else "")


def _torch() -> tuple[bool, str]:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU; training runs on the CPU"
    total = torch.ones(3, 3).matmul(torch.ones(3, 3)).sum().item()
    return total == 27, f"torch {torch.__version__} computes; {torch.get_num_threads()} threads; {device}"


def _binaries() -> tuple[bool, str]:
    present = [name for name in ("torchvision", "torchaudio") if importlib.util.find_spec(name) is not None]
    broken = []
    for name in present:
        try:
            importlib.import_module(name)
        except Exception as error:
            broken.append(f"{name} does not load ({' '.join(str(error).split())[:80]}); pip uninstall {name}")
    return not broken, "; ".join(broken) or "no binary package that clashes with torch"


def _plugins() -> tuple[bool, str]:
    found = installed()
    disabled = f"; turned off by {DISABLE}: {os.environ[DISABLE]}" if os.environ.get(DISABLE) else ""
    aside = "; ".join(f"{package} is set aside: {reason}" for package, reason in found.quarantined.items())
    loaded = ", ".join(sorted({f"{p.package} {p.version}" for p in found.loaded}))
    return not found.quarantined, f"plugins: {loaded}{disabled}{'; ' + aside if aside else ''}"


def _conflicts() -> tuple[bool, str]:
    contested = [name for kind in KINDS for name in catalog.names(kind) if "." in name]
    said = f"names that two plugins register: {', '.join(contested)}; uninstall one, or type the name in full"
    return not contested, said if contested else "no name is registered twice"


def _imports() -> tuple[bool, str]:
    broken, count = [], 0
    for kind in KINDS:
        for entry in catalog.entries(kind):
            if entry.component.target.endswith((".yaml", ".yml")):
                continue
            count += 1
            try:
                component = entry.load()
                if KINDS[kind].group:
                    catalog.options(component)
            except Exception as error:
                broken.append(f"{kind} '{entry.name}' of {entry.package} ({type(error).__name__}: {error})")
    return not broken, f"cannot be used: {'; '.join(broken)}" if broken else f"all {count} components import"


def _kinds() -> tuple[bool, str]:
    lacking = [kind for kind in KINDS.values() if kind.required and not catalog.names(kind.name)]
    if not lacking:
        return True, "there is a choice for everything a run needs"
    homes = " ".join(sorted({kind.home for kind in lacking}))
    return False, f"nothing is installed for {', '.join(kind.name for kind in lacking)}; pip install {homes}"


def _writable() -> tuple[bool, str]:
    try:
        with tempfile.TemporaryFile(dir=Path.cwd()):
            return True, f"{Path.cwd()} can be written"
    except OSError as error:
        return False, f"{Path.cwd()} cannot be written ({error.strerror}); go elsewhere, or train with out=FOLDER"
