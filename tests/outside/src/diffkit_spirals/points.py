"""A modality nobody thought of, a data set in it, and a command about both."""

import math
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

import diffkit


class Points:
    """A row of points in the plane: two channels, x and y; a file is a CSV with a line a point."""

    name = "points"
    rank = 1
    suffixes = (".csv",)

    def read(self, path, spec):
        values = np.loadtxt(path, delimiter=",", dtype=np.float32, ndmin=2).clip(-1, 1)
        if values.shape != (*spec.shape, 2):
            raise ValueError(f"{values.shape} is not {spec.shape[0]} points")
        return torch.from_numpy(values).T.contiguous()

    def check(self, x, spec):
        if tuple(x.shape) != (spec.channels, *spec.shape) or not (x.abs() <= 1).all():
            raise diffkit.DiffkitError(f"{tuple(x.shape)} is not {spec.shape[0]} points of the plane within [-1, 1]")

    def save(self, x, stem, spec):
        path = stem.with_name(stem.name + ".csv")
        np.savetxt(path, x.T.numpy(), delimiter=",", fmt="%.6f")
        return [path]

    def sheet(self, xs, titles, path, spec, group=1):
        side = 96
        page = Image.new("RGB", (side * len(xs), side), "white")
        draw = ImageDraw.Draw(page)
        for i, x in enumerate(xs):
            for u, v in ((x.T.clamp(-1, 1) + 1) * (side / 2 - 4) + 4).tolist():
                draw.ellipse((side * i + u - 2, v - 2, side * i + u + 2, v + 2), fill="navy")
        page.save(path)


class Spirals:
    """Eight points of a left or a right spiral that starts at a random angle."""

    modality = "points"

    def __init__(self, size: int = 256, seed: int = 0):
        self.spec = diffkit.DataSpec(channels=2, shape=(8,), labels=("left", "right"))
        turn = torch.rand(size, generator=diffkit.generator(seed, "spirals")) * 2 * math.pi
        self.labels = (torch.arange(size) % 2).tolist()
        way = 1 - 2.0 * (torch.arange(size) % 2)
        along = torch.linspace(0.1, 0.9, 8)
        angle = turn[:, None] + way[:, None] * along * 5
        self.items = torch.stack((along * angle.cos(), along * angle.sin()), 1).float()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index], self.labels[index]


def turns(words):
    """``diffkit turns FOLDER``: print which way each spiral in a folder of CSV files turns."""
    if len(words) != 1:
        raise diffkit.DiffkitError("diffkit turns needs a folder of CSV files: diffkit turns FOLDER")
    for path in sorted(Path(words[0]).glob("*.csv")):
        x, y = np.loadtxt(path, delimiter=",").T
        angle = np.unwrap(np.arctan2(y, x))
        print(f"{path.name} {'left' if angle[-1] > angle[0] else 'right'}")
    return 0
