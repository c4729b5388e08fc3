"""``diffkit edit RUN FILE… strength=0.5 sample.label=NAME``: files with noise added and taken off again."""

from collections.abc import Sequence

import torch

from diffkit import Streams
from diffkit_inference.cli.items import batches, condition, deviation, labels, read_files, results, write, write_sheet
from diffkit_inference.cli.words import read
from diffkit_inference.editing import edit as edited

EXAMPLE = "picture.png strength=0.5 sample.label=3"


@torch.no_grad()
def edit(words: Sequence[str]) -> int:
    """Write the files as the model would have them under a label, and a sheet of before and after."""
    model, files, settings = read("edit", words, {"strength": 0.5}, EXAMPLE)
    x, names = read_files(model, files, f"diffkit edit last {EXAMPLE}")
    given = labels(model, len(x))
    model.denoiser.eval()
    denoiser = model.guidance(model.denoiser) if model.guidance is not None else model.denoiser
    after = []
    for part in batches(model, len(x)):
        z = x[part.start : part.stop].to(model.device)
        z = z if model.encoder is None else model.encoder.encode(z)
        made = edited(
            model.sampler,
            denoiser,
            z,
            settings["strength"],
            grid=model.grid,
            streams=Streams(model.config.seed, part, model.denoiser.noise),
            std=model.latent.std,
            **condition(model, given[part.start : part.stop]),
        )
        after.append((made if model.encoder is None else model.encoder.decode(made)).float().cpu())
    done = torch.cat(after)
    with results(model, "edit") as folder:
        write(model, folder, names, done)
        write_sheet(model, folder, {"": x, "edited": done}, names)
    print(f"changed  {deviation(done, x):.3g} (root mean square, of values in [-1, 1])")
    return 0
