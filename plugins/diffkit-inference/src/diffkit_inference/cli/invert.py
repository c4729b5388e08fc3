"""``diffkit invert RUN FILE…``: the noise that files come from, and the files made of it again."""

from collections.abc import Sequence

import torch
from safetensors.torch import save_file

from diffkit import DiffkitError
from diffkit_inference.cli.items import batches, condition, deviation, labels, read_files, results, write, write_sheet
from diffkit_inference.cli.words import read
from diffkit_inference.inversion import invert as inverted
from diffkit_inference.inversion import regenerate

EXAMPLE = "picture.png"


@torch.no_grad()
def invert(words: Sequence[str]) -> int:
    """Write the noise of files, what comes of it, and a sheet of both; say how far that is from the files."""
    model, files, _ = read("invert", [*words, *_accurate(words)], {}, EXAMPLE)
    x, names = read_files(model, files, f"diffkit invert last {EXAMPLE}")
    denoiser, given = model.denoiser.eval(), labels(model, len(x))
    noises, backs = [], []
    for part in batches(model, len(x)):
        cond = condition(model, given[part.start : part.stop])
        z = x[part.start : part.stop].to(model.device)
        z = z if model.encoder is None else model.encoder.encode(z)
        noise = inverted(model.sampler, denoiser, z, grid=model.grid, **cond)
        back = regenerate(model.sampler, denoiser, noise, grid=model.grid, **cond)
        noises.append(noise.cpu())
        backs.append((back if model.encoder is None else model.encoder.decode(back)).float().cpu())
    noise, back = torch.cat(noises), torch.cat(backs)
    if not (noise.isfinite().all() and back.isfinite().all()):
        raise DiffkitError("the inversion ran away; give it more steps, such as sampler.steps=100, or sampler=heun")
    with results(model, "invert") as folder:
        write(model, folder, names, back)
        save_file({"noise": noise.contiguous()}, folder / "noise.safetensors")
        stages = {"": x, "noise": noise / 3, "back": back}
        if noise.shape != x.shape:
            del stages["noise"]
        write_sheet(model, folder, stages, names)
    print(f"error    {deviation(back, x):.3g} (root mean square, of values in [-1, 1])")
    print(f"noise    mean {noise.mean():.3f}, standard deviation {noise.std():.3f} (0 and 1 for likely files)")
    return 0


def _accurate(words: Sequence[str]) -> list[str]:
    """Return a sampler and a grid, each where ``words`` name none: a run's may be fitted to few steps one way."""
    given = {word.partition("=")[0].lstrip("+") for word in words}
    chosen = [] if "grid" in given else ["grid=karras"]
    if "sampler" not in given:
        chosen += ["sampler=heun", *([] if "sampler.steps" in given else ["sampler.steps=50"])]
    return chosen
