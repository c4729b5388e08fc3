"""Score a run trained on `digits`: are its samples the digits they were asked to be, as varied as real ones, and new?

    python benchmarks/digits.py RUN [--n 1000] [--seed 0] [--json]

Five classifiers (scikit-learn's MLPClassifier with 64 hidden units, random states 0 to 4) learn the 1,258 training
digits. On n samples, whose labels cycle through 0 to 9, it reports the means over the five of

    agreement   the share of samples that the classifier takes for their label
    frechet     the Fréchet distance of their 64 hidden features to those of the training digits, in units in which
                the features' mean variance over the training digits is 1. It falls with the number of samples, so it
                is also given for as many samples as there are held-out digits

and, in pixels of [-1, 1], the L2 distance from each sample to the nearest training digit (mean), and the share of
samples that are nearer than 99 % of the held-out digits are (0.01 for real ones, more for copies). Beside each stands
what the 539 held-out real digits reach. With --json the last line is one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from diffkit_image import Digits
from sklearn.neural_network import MLPClassifier
from torch import Tensor

import diffkit

CLASSIFIERS = 5


def score(samples: Tensor, labels: Sequence[int]) -> dict[str, float]:
    """Return the figures of samples ``(n, 1, 8, 8)`` in [-1, 1] that were asked to be ``labels``."""
    train, _ = real("train")
    held, held_labels = real("held_out")
    x, asked = samples.flatten(1).double().clamp(-1, 1).numpy(), np.asarray(labels)
    rows = []
    for classifier in classifiers():
        known = features(classifier, train)
        drawn, unseen = features(classifier, x), features(classifier, held)
        rows.append(
            {
                "agreement": np.mean(classifier.predict(x) == asked),
                "accuracy_held_out": np.mean(classifier.predict(held) == held_labels),
                "frechet": frechet(drawn, known),
                "frechet_same_n": frechet(drawn[: len(held)], known),
                "frechet_held_out": frechet(unseen, known),
            }
        )
    figures = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    near, near_held = nearest(x, train), nearest(held, train)
    figures["nearest"], figures["nearest_held_out"] = float(near.mean()), float(near_held.mean())
    figures["nearer_than_99_percent"] = float(np.mean(near < np.quantile(near_held, 0.01)))
    return figures


@cache
def real(split: str) -> tuple[np.ndarray, np.ndarray]:
    """Return real digits ``(n, 64)`` in [-1, 1] and their labels."""
    data = Digits(split=split)
    items = data.__getitems__(list(range(len(data))))
    return torch.stack([x for x, _ in items]).flatten(1).double().numpy(), np.array([label for _, label in items])


@cache
def classifiers() -> list[MLPClassifier]:
    """Return classifiers of digits, trained on the training split."""
    return [
        MLPClassifier((64,), alpha=0.1, learning_rate_init=0.003, max_iter=300, random_state=state).fit(*real("train"))
        for state in range(CLASSIFIERS)
    ]


def features(classifier: MLPClassifier, x: np.ndarray) -> np.ndarray:
    """Return the activations of the hidden layer, ``(n, 64)``."""
    return np.maximum(x @ classifier.coefs_[0] + classifier.intercepts_[0], 0)


def frechet(x: np.ndarray, reference: np.ndarray) -> float:
    """Return the squared 2-Wasserstein distance of the Gaussians with the moments of ``(n, features)`` arrays.

    |μ - ν|² + tr(Σ + T - 2 (Σ^½ T Σ^½)^½), over the mean variance tr(T)/features of the reference.
    """
    mean, known_mean = x.mean(0), reference.mean(0)
    covariance, known = np.cov(x, rowvar=False), np.cov(reference, rowvar=False)
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root @ known @ root).clip(0)).sum()
    distance = ((mean - known_mean) ** 2).sum() + np.trace(covariance) + np.trace(known) - 2 * cross
    return float(distance / np.diag(known).mean())


def nearest(x: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return the L2 distance from each of ``x`` to the nearest of ``known``."""
    return torch.cdist(torch.from_numpy(x), torch.from_numpy(known)).min(1).values.numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description="Score a run trained on digits.")
    parser.add_argument("run", help="the run's folder, or last")
    parser.add_argument("--n", type=int, default=1000, help="how many samples (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="of the samples (default 0)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    if given.n < 100:
        parser.error("64 features need --n 100 or more")
    try:
        model = diffkit.load(given.run)
        if (model.spec.channels, model.spec.shape, len(model.spec.labels)) != (1, (8, 8), 10):
            raise diffkit.DiffkitError(f"{given.run} was not trained on digits; train one: diffkit recipe=digits")
        labels = [i % 10 for i in range(given.n)]
        began = time.monotonic()
        samples = model.sample(given.n, label=labels, seed=given.seed)
        seconds = time.monotonic() - began
    except diffkit.DiffkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    s = score(samples, labels)
    held = len(real("held_out")[0])
    same = min(held, given.n)
    print(f"{given.n} samples of seed {given.seed}, drawn in {seconds:.1f} s; features: the 64 hidden units of")
    print(f"{CLASSIFIERS} classifiers of real digits, averaged; reference: the 1,258 training digits\n")
    print(f"                                        samples   real, held out ({held})")
    print(f"classified as asked                       {s['agreement']:.3f}   {s['accuracy_held_out']:.3f}")
    print(f"Fréchet distance, all {given.n:<6}            {s['frechet']:7.2f}")
    print(f"Fréchet distance, the first {same:<4}        {s['frechet_same_n']:7.2f}   {s['frechet_held_out']:.2f}")
    print(f"nearest training digit (L2 in [-1, 1])  {s['nearest']:7.2f}   {s['nearest_held_out']:.2f}")
    print(f"nearer than 99 % of held-out digits       {s['nearer_than_99_percent']:.3f}   0.010")
    if given.json:
        print(json.dumps({**s, "n": given.n, "seed": given.seed, "seconds": round(seconds, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
