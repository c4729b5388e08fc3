"""Score a run trained on `moving_digits`: are its clips the digits they were asked to be, and do they keep moving?

    python benchmarks/moving_digits.py RUN [--n 100] [--seed 0] [--json]

The digit of each frame is cut out around its centre of mass, as 10x10 pixels by linear interpolation, and shown to a
support vector machine that learned such cuts of the clips of training digits. On n clips, whose labels cycle through
0 to 9, it reports

    agreement         the share of clips whose middle frame is taken for the label
    agreement_frames  the share of all frames
    steadiness        the share of frames that are taken for what most of their clip's are
    moving            the share of clips whose centre of mass moves, in every step from frame to frame, by as much as in
                      real training clips: between 3/4 of the 1st percentile of their steps and 5/4 of the 99th
    whole             the share of clips whose light never changes by more than 20 % from one frame to the next

Beside each stands what as many clips of the held-out digits reach. With --json the last line is one JSON object.
"""

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffkit_video import MovingDigits
from sklearn.svm import SVC
from torch import Tensor
from torch.nn.functional import grid_sample

import diffkit

CUT = 10
"""Height and width of what the classifier sees, in pixels: a digit and the pixel around it."""
CHANGE = 0.2
"""The largest change of light between two frames that still is one digit."""
FAINT = 0.1
"""Light below this share of white is no part of a digit, so that noise does not pull at the centre of mass."""


def light(clips: Tensor) -> Tensor:
    """Return the light ``(n, frames, height, width)`` in [0, 1] of clips ``(n, 1, frames, height, width)``."""
    shone = ((clips[:, 0] + 1) / 2).clamp(0, 1)
    return shone * (shone >= FAINT)


def centres(clips: Tensor) -> Tensor:
    """Return the centres of mass ``(n, frames, 2)``, y and x in pixels; the canvas's own where there is no light."""
    shone = light(clips)
    height, width = shone.shape[2:]
    shone = shone + 1e-9
    mass = shone.sum((2, 3))
    y = (shone.sum(3) * torch.arange(height)).sum(2) / mass
    x = (shone.sum(2) * torch.arange(width)).sum(2) / mass
    return torch.stack((y, x), -1)


def cuts(clips: Tensor) -> np.ndarray:
    """Return the digits ``(n, frames, CUT²)``, each cut out around its centre of mass."""
    n, _, frames, height, width = clips.shape
    offsets = torch.arange(CUT) - (CUT - 1) / 2
    at = centres(clips).reshape(-1, 2)
    y = (2 * (at[:, :1] + offsets) + 1) / height - 1
    x = (2 * (at[:, 1:] + offsets) + 1) / width - 1
    grid = torch.stack((x[:, None, :].expand(-1, CUT, -1), y[:, :, None].expand(-1, -1, CUT)), -1)
    shone = ((clips + 1) / 2).clamp(0, 1).reshape(-1, 1, height, width)
    return grid_sample(shone, grid, align_corners=False).reshape(n, frames, CUT * CUT).numpy()


def steps(clips: Tensor) -> Tensor:
    """Return how far the centre of mass moves from each frame to the next, ``(n, frames - 1)`` in pixels."""
    return centres(clips).diff(dim=1).norm(dim=-1)


def changes(clips: Tensor) -> Tensor:
    """Return by what share the light of each frame differs from that of the one before, ``(n, frames - 1)``."""
    total = light(clips).sum((2, 3)) + 1e-9
    return total.diff(dim=1) / total[:, :-1]


@dataclass
class Judge:
    """What real training clips say: which digit is which, and how far one moves from frame to frame."""

    classifier: SVC
    slowest: float
    fastest: float

    @classmethod
    def of(cls, data: MovingDigits) -> "Judge":
        """Learn from all clips of ``data``."""
        xs, labels = items(data, len(data))
        seen = cuts(xs)[:, ::3]
        every = np.repeat(labels, seen.shape[1])
        classifier = SVC(C=10).fit(seen.reshape(-1, CUT * CUT), every)
        low, high = steps(xs).flatten().quantile(torch.tensor([0.01, 0.99])).tolist()
        return cls(classifier, 0.75 * low, 1.25 * high)

    def score(self, clips: Tensor, labels: Sequence[int]) -> dict[str, float]:
        """Return the figures of clips ``(n, 1, frames, height, width)`` that were asked to be ``labels``."""
        n, frames = len(clips), clips.shape[2]
        taken = self.classifier.predict(cuts(clips).reshape(n * frames, -1)).reshape(n, frames)
        asked = np.asarray(labels)
        most = np.array([np.bincount(row).argmax() for row in taken])
        return {
            "agreement": float((taken[:, frames // 2] == asked).mean()),
            "agreement_frames": float((taken == asked[:, None]).mean()),
            "steadiness": float((taken == most[:, None]).mean()),
            "moving": _share_within(steps(clips), self.slowest, self.fastest),
            "whole": _share_within(changes(clips), -CHANGE, CHANGE),
        }


def items(data: MovingDigits, n: int) -> tuple[Tensor, np.ndarray]:
    """Return the first ``n`` clips of a data set, and their labels."""
    found = data.__getitems__(list(range(n)))
    return torch.stack([x for x, _ in found]), np.array([label for _, label in found])


def _share_within(values: Tensor, low: float, high: float) -> float:
    """Return the share of rows all of whose values are in [low, high]."""
    return float(((values >= low) & (values <= high)).all(1).float().mean())


def real(options: Mapping[str, Any], split: str, clips: int) -> MovingDigits:
    """Return the data set that a run was trained on, or its held-out twin."""
    kept = {key: value for key, value in options.items() if key not in ("name", "split", "clips")}
    return MovingDigits(**kept, split=split, clips=clips)


def main() -> int:
    parser = argparse.ArgumentParser(description="Score a run trained on moving_digits.")
    parser.add_argument("run", help="the run's folder, or last")
    parser.add_argument("--n", type=int, default=100, help="how many clips (default 100)")
    parser.add_argument("--seed", type=int, default=0, help="of the clips (default 0)")
    parser.add_argument("--json", action="store_true", help="end with one JSON object")
    given = parser.parse_args()
    if given.n < 10:
        parser.error("ten labels need --n 10 or more")
    try:
        model = diffkit.load(given.run)
        if model.config.data.name != "moving_digits":
            raise diffkit.DiffkitError(
                f"{given.run} was trained on {model.config.data.name}; train one here: diffkit recipe=moving_digits"
            )
        labels = [i % 10 for i in range(given.n)]
        began = time.monotonic()
        samples = model.sample(given.n, label=labels, seed=given.seed)
        seconds = time.monotonic() - began
    except diffkit.DiffkitError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    judge = Judge.of(real(model.config.data, "train", 3000))
    scores = judge.score(samples, labels)
    held = judge.score(*items(real(model.config.data, "held_out", given.n), given.n))
    rows = {
        "middle frame classified as asked": "agreement",
        "all frames": "agreement_frames",
        "frames classified as most of their clip": "steadiness",
        f"moves {judge.slowest:.2f} to {judge.fastest:.2f} pixels in every step": "moving",
        "stays whole": "whole",
    }
    print(f"{given.n} clips of seed {given.seed}, drawn in {seconds:.1f} s; judged by a support vector machine\n")
    print(f"{'':45}samples   real, held out ({given.n})")
    for text, key in rows.items():
        print(f"{text:45}{scores[key]:7.3f}   {held[key]:.3f}")
    if given.json:
        beside = {f"{key}_held_out": value for key, value in held.items()}
        print(json.dumps({**scores, **beside, "n": given.n, "seed": given.seed, "seconds": round(seconds, 3)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
