"""An exported model: a folder with the weights that a run samples with, and what it takes to load them, but no data.

model.safetensors   the averaged weights, with what fine-tuning put in merged
config.yaml         the run's, without what only training needs
data.json           the DataSpec that was measured
plugins.lock        which packages it needs
state.json          the step
SHA256SUMS          of model.safetensors, data.json and state.json
"""

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from safetensors.torch import save

from diffkit.errors import DiffkitError
from diffkit.run.folder import CONFIG, DATA, KEPT, LOCKED, RunFolder
from diffkit.run.load import SAMPLING, load_model, read_run
from diffkit.run.sums import SUMS

LEFT_OUT = ("adapt", "tracker", "callback")
"""The kinds that an exported model does without, so they need not be installed where it is loaded."""


def export(run: str | os.PathLike[str] = "last", folder: str | os.PathLike[str] | None = None) -> Path:
    """Write a run's model to a folder that :func:`~diffkit.load` takes on a machine without the run and its data.

    Args:
        run: a run's folder, or ``"last"``.
        folder: where to write it; ``export`` in the run's folder where none is given.

    Returns:
        The folder.

    Raises:
        DiffkitError: where it is not a run or is damaged, and where the folder exists or cannot be written.
    """
    source = RunFolder.find(run)
    target = Path(folder) if folder is not None else source.path / "export"
    if target.exists():
        raise DiffkitError(f"{target} exists; export to another folder: diffkit export {run} FOLDER")
    files = _files(source)
    part = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        part.mkdir(parents=True)
        for name, data in files.items():
            (part / name).write_bytes(data)
        part.rename(target)
    except OSError as error:
        raise DiffkitError(f"{target} cannot be written ({error.strerror or error}); choose another folder") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return target


def _files(source: RunFolder) -> dict[str, bytes]:
    config = read_run(source, ["device=cpu"], SAMPLING, "export")
    model, _ = load_model(source, config)
    weights = {name: value.contiguous() for name, value in model.denoiser.net.state_dict().items()}
    OmegaConf.set_struct(config, False)
    for kind in LEFT_OUT:
        config.pop(kind, None)
    config.device, config.sample.ema = "auto", None
    config.data = _without_places(OmegaConf.to_container(config.data))
    lock = source.read_json(LOCKED)
    lock["components"] = {kind: entry for kind, entry in lock["components"].items() if kind not in LEFT_OUT}
    files = {
        "model.safetensors": save(weights, {"format": "pt"}),
        DATA: (source.path / DATA).read_bytes(),
        "state.json": json.dumps({"step": model.step}).encode(),
    }
    sums = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in files.items())
    files[SUMS] = sums.encode()
    files[CONFIG] = OmegaConf.to_yaml(config).encode()
    files[LOCKED] = f"{json.dumps(lock, indent=1)}\n".encode()
    if source.read_kept():
        files[KEPT] = (source.path / KEPT).read_bytes()
    return files


def _without_places(options: Any) -> Any:
    """Return the options of a data set, those of a mixture's among them, without where its files were."""
    if isinstance(options, list):
        return [_without_places(one) for one in options]
    if not isinstance(options, dict):
        return options
    return {
        name: Path(value).name if name == "path" and value else _without_places(value)
        for name, value in options.items()
    }
