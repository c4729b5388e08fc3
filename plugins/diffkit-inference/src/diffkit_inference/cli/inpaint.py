"""``diffkit inpaint RUN FILE… mask=top``: a hidden part of files, filled in as the model finds likely."""

from collections.abc import Callable, Sequence
from copy import copy
from math import inf
from pathlib import Path

import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, Model, generator
from diffkit.contracts.sampling import Guidance, Sampler
from diffkit.errors import did_you_mean
from diffkit_inference.cli.items import batches, deviation, labels, read_files, results, write, write_sheet
from diffkit_inference.cli.words import read
from diffkit_inference.inverse import DDNM, MMPS, PiGDM
from diffkit_inference.operators import Mask
from diffkit_inference.repaint import RePaint

EXAMPLE = "picture.png mask=top"
METHODS = ("repaint", "mmps", "pigdm", "ddnm")
BOXES = ("top", "bottom", "left", "right", "center")


def inpaint(words: Sequence[str]) -> int:
    """Write the files with a part filled in anew, and a sheet of before, hidden and after."""
    own = {"mask": "center", "method": "repaint", "noise": 0.0}
    model, files, settings = read("inpaint", words, own, EXAMPLE)
    method = settings["method"]
    if method not in METHODS:
        hint = did_you_mean(method, METHODS)
        raise DiffkitError(f"method={method} is not known{hint}; give one of {', '.join(METHODS)}")
    if not 0 <= settings["noise"] < inf:
        raise DiffkitError(f"noise={settings['noise']} is not the standard deviation of a noise; give 0 or more")
    x, names = read_files(model, files, f"diffkit inpaint last {EXAMPLE}")
    hidden = hidden_part(model, settings["mask"])
    z, unknown = latents(model, x, hidden)
    mask, given, bare = Mask(~unknown), labels(model, len(x)), copy(model)
    bare.encoder = None  # what it draws stays what the network models
    done = []
    for part in batches(model, len(x)):
        y = mask.forward(z[part.start : part.stop]).to(model.device)
        sampler, guidance = _solver(model, method, mask, y, settings["noise"])
        done.append(bare.draw(part, given[part.start : part.stop], sampler=sampler, guidance=guidance))
    drawn = torch.cat(done)
    filled = torch.where(unknown, drawn, z)
    filled = filled if model.encoder is None else model.encoder.decode(filled)
    with results(model, "inpaint") as folder:
        write(model, folder, names, filled)
        write_sheet(model, folder, {"": x, "hidden": torch.where(hidden, 0.0, x), "filled": filled}, names)
    off = deviation(drawn[:, ~unknown], z[:, ~unknown])
    print(f"known    {off:.3g} off in the drawn items (root mean square); it is kept as it was")
    return 0


def latents(model: Model, x: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
    """Return what the network models of items, and which of its values the hidden part has a say in.

    Raises:
        DiffkitError: where it has in all of them.
    """
    if model.encoder is None:
        return x, hidden
    once, twice = (
        model.encoder.encode(torch.where(hidden, torch.rand(x.shape, generator=generator("hidden", k)) - 0.5, x))
        for k in range(2)
    )
    unknown = ((once - twice).abs() > 1e-6).any(0)
    if unknown.all():
        raise DiffkitError(
            "the encoder mixes what is hidden into everything that the network models; hide a smaller part"
        )
    return model.encoder.encode(x), unknown


def hidden_part(model: Model, word: str) -> Tensor:
    """Return which values of an item are hidden: a box by its name, or where a file of the modality is above 0."""
    if word not in BOXES:
        path = Path(word)
        if not path.is_file():
            raise DiffkitError(
                f"mask={word} is neither a part nor a file{did_you_mean(word, BOXES)}; give one of {', '.join(BOXES)}, "
                f"or a file that is light where something is hidden"
            )
        hidden = (model.modality.read(path, model.spec).mean(0) > 0).expand(model.spec.channels, *model.spec.shape)
    else:
        hidden = box(word, model.spec)
    if hidden.all() or not hidden.any():
        raise DiffkitError(f"mask={word} hides {'all' if hidden.all() else 'nothing'}; hide a part")
    return hidden


def box(word: str, spec: DataSpec) -> Tensor:
    """Return half of an item or its middle: ``left`` and ``right`` halve the last axis, ``top`` the one before."""
    hidden = torch.ones(spec.channels, *spec.shape, dtype=torch.bool)
    if word in ("top", "bottom") and spec.rank < 2:
        raise DiffkitError(f"mask={word} needs data with rows; give mask=left, right or center")
    axes = (-1,) if word in ("left", "right") or spec.rank == 1 else (-2,) if word in ("top", "bottom") else (-2, -1)
    for axis in axes:
        size = spec.shape[axis]
        where = torch.arange(size)
        keep = {
            "top": where < size // 2,
            "left": where < size // 2,
            "center": (where >= size // 4) & (where < size - size // 4),
        }.get(word, where >= size - size // 2)
        hidden &= keep.reshape(-1, *[1] * (-axis - 1))
    return hidden


def _solver(model: Model, method: str, mask: Mask, y: Tensor, noise: float) -> tuple[Sampler, Guidance]:
    """Return what follows the observation: a sampler of its own, or a guidance around the run's."""
    own = model.guidance or (lambda denoiser: denoiser)
    if method == "repaint":
        return RePaint(mask, y, noise, steps=getattr(model.sampler, "steps", 50)), own
    observed: dict[str, Callable[[], Guidance]] = {
        "mmps": lambda: MMPS(mask, y, noise),
        "pigdm": lambda: PiGDM(mask, y, noise, model.latent.std),
        "ddnm": lambda: DDNM(mask, y, noise, model.latent.std),
    }
    guidance = observed[method]()
    return model.sampler, lambda denoiser: guidance(own(denoiser))
