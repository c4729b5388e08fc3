"""``diffkit nll RUN [FILE…]``: how likely data is under a run, in bits for each value."""

import json
import warnings
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor

import diffkit
from diffkit import DiffkitError, Model, Streams, generator
from diffkit_inference.bound import elbo
from diffkit_inference.cli.items import batches, condition, labels, read_files
from diffkit_inference.cli.words import read
from diffkit_inference.likelihood import bits_per_dim, log_prob

EXAMPLE = "sample.n=100"
OWN = {"levels": 0, "probes": 1, "rtol": 1e-4, "draws": 128}


def nll(words: Sequence[str]) -> int:
    """Print the negative log-likelihood, by the probability flow and as a bound, with their standard errors."""
    as_json = "--json" in words
    model, files, settings = read("nll", [word for word in words if word != "--json"], OWN, EXAMPLE)
    if not 0 < settings["rtol"] < 1:
        raise DiffkitError(f"rtol={settings['rtol']} is not a tolerance; give above 0 and below 1, such as rtol=1e-4")
    if model.encoder is not None:
        raise DiffkitError("diffkit nll measures the density of data, but this run models latents of an encoder")
    x, given, what = _items(model, files)
    x, width, smallest = _dithered(model, x, settings["levels"])
    denoiser, before = model.denoiser.eval(), model.denoiser.evaluations
    flow, bound = [], []
    for part in batches(model, len(x)):
        item = x[part.start : part.stop].to(model.device)
        given_here = condition(model, given[part.start : part.stop])
        both = {"streams": Streams(model.config.seed, part), "sigma_min": smallest, **given_here}
        flow.append(log_prob(denoiser, item, probes=settings["probes"], rtol=settings["rtol"], **both))
        bound.append(elbo(denoiser, item, draws=settings["draws"], **both))
    figures: dict[str, float | None] = {"n": len(x), "levels": settings["levels"]}
    print(f"data     {what}")
    for name, said, logs in (("flow", "by the probability flow", flow), ("elbo", "at most, by the ELBO", bound)):
        bits = bits_per_dim(torch.cat(logs).double(), tuple(x.shape[1:]), width)
        error = bits.std().item() / sqrt(len(x)) if len(x) > 1 else None  # of a single item nothing is known of it
        figures |= {name: bits.mean().item(), f"{name}_error": error}
        print(f"nll      {figures[name]:.4f}{'' if error is None else f' ± {error:.4f}'} bits a value, {said}")
    figures["evaluations"] = denoiser.evaluations - before
    print(f"cost     {figures['evaluations']} evaluations of the model, in {len(flow)} batches")
    if as_json:
        print(json.dumps(figures))
    return 0


def _dithered(model: Model, x: Tensor, levels: int) -> tuple[Tensor, float, float | None]:
    """Return data with uniform noise of a bin's width, that width, and the σ that has the bin's variance.

    The density of data that takes few values has no bound, so the probability of the bin is measured, of which the
    density of dithered data gives a bound. Noise weaker than the dither is left out: the model knows undithered data.
    """
    if levels == 0:
        return x, 1.0, None
    if levels < 2:
        raise DiffkitError(f"levels={levels} cannot be told apart; give 2 or more, or 0 for the density itself")
    width = 2 / (levels - 1)
    dither = [torch.rand(x.shape[1:], generator=generator(model.config.seed, "dither", i)) for i in range(len(x))]
    first = torch.exp(-model.denoiser.schedule.lam(torch.zeros(1, dtype=torch.float64))).item()
    return x + width * (torch.stack(dither) - 0.5), width, max(first, width / sqrt(12))


def _items(model: Model, files: Sequence) -> tuple[Tensor, list[int], str]:
    """Return what to measure, the labels, and a word for it: files, or the held-out part of the run's data."""
    if files:
        x, _ = read_files(model, files, "diffkit nll last pictures")
        return x, labels(model, len(x)), f"{len(x)} files"
    choice = dict(model.config.data)
    held_out = "split" in choice
    data = diffkit.build("data", {**choice, "split": "held_out"} if held_out else choice)
    if not held_out:
        warnings.warn(
            f"data '{choice['name']}' has no held-out part, so this is the likelihood of what the run was trained on; "
            f"name files that it never saw: diffkit nll RUN FOLDER",
            stacklevel=1,
        )
    n = min(model.config.sample.n, len(data))
    order = torch.randperm(len(data), generator=generator(model.config.seed, "nll"))[:n].tolist()
    items, found = zip(*(data[i] for i in order), strict=True)
    part = "held-out" if held_out else "training"
    return torch.stack(items), list(found), f"{n} {part} items of '{choice['name']}'"
