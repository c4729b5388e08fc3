"""Score a run of the recipe ``notes``: python benchmarks/notes.py RUN [--n 200] [--seed 0] [--json].

Asks the run for notes of every pitch in turn and measures

- how many are in tune: the share whose fundamental, by the YIN estimator, is within 50 cents of the pitch asked for;
- how alike the sounds are: the energy distance between their spectrograms (decibels in bands) and those of real notes;
- whether they are copies: the distance in that picture from a sample to the nearest training note, the median.

Beside each figure stands that of as many held-out real notes: synthesised strings that the run never saw.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence

import torch
from torch import Tensor

LOWEST, HIGHEST = 50.0, 1200.0
"""Hz between which a fundamental is looked for: beyond the notes' own range, so that octave errors are found."""


def fundamental(x: Tensor, rate: float, low: float = LOWEST, high: float = HIGHEST, threshold: float = 0.1) -> Tensor:
    """Return the fundamental frequency of sounds ``(n, samples)`` in Hz, ``(n,)``.

    A. de Cheveigné and H. Kawahara, "YIN, a fundamental frequency estimator for speech and music", JASA 111(4),
    2002, over one window as long as the sound allows: the first dip of the normalised difference function below the
    threshold, else its lowest point, with parabolic interpolation.
    """
    x, rate = finer(x.double()), 4 * rate
    longest, shortest = math.ceil(rate / low) + 1, math.floor(rate / high)
    window = x.shape[1] - longest - 1
    size = 1 << (x.shape[1] + window).bit_length()
    start = torch.fft.rfft(x[:, :window], size).conj()
    correlation = torch.fft.irfft(start * torch.fft.rfft(x, size), size)[:, : longest + 1]
    energy = torch.nn.functional.pad(x.square().cumsum(1), (1, 0))
    shifted = energy[:, window : window + longest + 1] - energy[:, : longest + 1]
    difference = (shifted[:, :1] + shifted - 2 * correlation).clamp_min(0)
    mean = difference[:, 1:].cumsum(1) / torch.arange(1, longest + 1)
    normal = difference[:, 1:] / mean.clamp_min(1e-12)  # column k is lag k + 1

    dip = torch.zeros_like(normal, dtype=torch.bool)
    dip[:, 1:-1] = (normal[:, 1:-1] <= normal[:, :-2]) & (normal[:, 1:-1] < normal[:, 2:])
    dip[:, : shortest - 1] = False
    deep = dip & (normal < threshold)
    first = deep.int().argmax(1)
    lowest = torch.where(dip, normal, torch.inf).argmin(1).clamp(1, longest - 2)
    at = torch.where(deep.any(1), first, lowest)
    a, b, c = (normal.gather(1, (at + k)[:, None])[:, 0] for k in (-1, 0, 1))
    bend = a - 2 * b + c
    vertex = torch.where(bend > 0, (a - c) / (2 * bend.clamp_min(1e-12)), 0).clamp(-1, 1)
    return rate / (at + 1 + vertex)


def finer(x: Tensor) -> Tensor:
    """Return ``x`` ``(n, samples)`` at four times its rate, interpolated in the frequency domain."""
    spectrum = torch.fft.rfft(torch.nn.functional.pad(x, (0, x.shape[1])))
    return 4 * torch.fft.irfft(spectrum, 8 * x.shape[1])[:, : 4 * x.shape[1]]


def cents(x: Tensor, asked: Tensor, rate: float) -> Tensor:
    """Return how far sounds ``(n, samples)`` are from the frequencies ``asked`` (n,) in Hz, in cents, ``(n,)``."""
    return 1200 * torch.log2(fundamental(x, rate) / asked)


def in_tune(x: Tensor, asked: Tensor, rate: float) -> float:
    """Return the share of sounds within 50 cents of ``asked``."""
    return (cents(x, asked, rate).abs() <= 50).double().mean().item()


def picture(x: Tensor, floor: float = -80.0) -> Tensor:
    """Return spectrograms of sounds ``(n, samples)``: decibels in 64 equal bands, ``(n, frames * 64)``."""
    spectrum = torch.stft(x, 512, 256, window=torch.hann_window(512), return_complex=True)
    power = spectrum[:, :256].abs().square().unflatten(1, (64, 4)).mean(2)
    return (10 * torch.log10(power + 1e-20)).clamp_min(floor).flatten(1)


def energy_distance(x: Tensor, y: Tensor) -> float:
    """Return 2 E|X-Y| - E|X-X'| - E|Y-Y'| of two sets of points (G. Székely), per coordinate in root mean square."""
    n, m = len(x), len(y)
    within = torch.cdist(x, x).sum() / (n * (n - 1)) + torch.cdist(y, y).sum() / (m * (m - 1))
    return ((2 * torch.cdist(x, y).mean() - within) / math.sqrt(x.shape[1])).item()


def score(samples: Tensor, real: Tensor, train: Tensor, asked: Tensor, rate: float) -> dict[str, float | int]:
    """Return the figures for ``samples``, beside those for as many held-out ``real`` notes of the same pitches.

    Args:
        samples: ``(n, 1, length)``.
        real: held-out notes of the same pitches, ``(n, 1, length)``.
        train: the training notes ``(m, 1, length)``.
        asked: the frequency of each in Hz, ``(n,)``.
        rate: samples a second.
    """
    figures: dict[str, float | int] = {"n": len(samples)}
    seen = picture(train[:, 0])
    for name, x in (("", samples[:, 0]), ("_real", real[:, 0])):
        off, image = cents(x, asked, rate).abs(), picture(x)
        figures[f"within_50_cents{name}"] = (off <= 50).double().mean().item()
        figures[f"median_cents{name}"] = off.median().item()
        figures[f"spectral_distance{name}"] = energy_distance(image, seen)
        nearest = torch.cdist(image, seen).amin(1) / math.sqrt(image.shape[1])
        figures[f"nearest_training_note_db{name}"] = nearest.median().item()
    return figures


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run's folder, or last")
    parser.add_argument("--n", type=int, default=200, help="how many notes to ask for")
    parser.add_argument("--seed", type=int, default=0, help="of the samples and of the held-out notes")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")
    given = parser.parse_args(words)
    if given.n < 2:
        parser.error("--n is 2 or more")

    from diffkit_audio import Notes, frequency

    import diffkit

    model = diffkit.load(given.run)
    if model.config.data.name != "notes":
        parser.error(f"{given.run} was trained on {model.config.data.name}, not on notes")
    options = {key: value for key, value in model.config.data.items() if key != "name"}
    train = Notes(**options)
    labels = [i % len(train.spec.labels) for i in range(given.n)]
    real = Notes(**{**options, "n": given.n, "seed": options.get("seed", 0) + 1 + given.seed})
    asked = torch.tensor([frequency(train.spec.labels[label]) for label in labels], dtype=torch.float64)
    began = time.perf_counter()
    samples = model.sample(given.n, label=labels, seed=given.seed)
    seconds = time.perf_counter() - began

    figures = score(samples, _stack(real), _stack(train), asked, train.spec.rate)
    figures["sampling_seconds"] = round(seconds, 2)
    for name in ("within_50_cents", "median_cents", "spectral_distance", "nearest_training_note_db"):
        print(f"{name:26}{figures[name]:9.3f}   held-out real notes{figures[f'{name}_real']:9.3f}")
    print(f"{given.n} notes sampled in {seconds:.1f} s")
    if given.json:
        print(json.dumps(figures))
    return 0


def _stack(notes: Sequence[tuple[Tensor, int]]) -> Tensor:
    return torch.stack([notes[i][0] for i in range(len(notes))])


if __name__ == "__main__":
    sys.exit(main())
