"""Real handwritten digits that move about a canvas and bounce off its edges."""

from functools import partial
from typing import Literal

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

from diffkit import DataSpec, DiffkitError, generator

DIGIT = 8
"""Height and width of scikit-learn's digits."""
DIRECTIONS = torch.tensor([(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if y or x])
"""In pixels a frame, y and x."""
TRAINING_SHARE = 0.7


class MovingDigits:
    """Clips ``(1, frames, size, size)`` of one real 8x8 digit that moves straight on and bounces off the edges.

    A clip is made when it is asked for, from three random numbers: which digit, where it starts, and in which of eight
    directions it goes. In each frame it is one pixel on, along an edge or diagonally, so that it stays as crisp as it
    was written. Labels are ``"0"`` to ``"9"``. The digits are those of E. Alpaydin and C. Kaynak, "Optical Recognition
    of Handwritten Digits" (1998), as scikit-learn ships them; that they bounce follows N. Srivastava et al.,
    "Unsupervised Learning of Video Representations using LSTMs" (2015).

    Args:
        size: height and width of the canvas in pixels, more than 8.
        frames: frames of a clip.
        rate: frames a second.
        clips: how many clips there are.
        split: ``"train"`` draws on 70 % of the digits, ``"held_out"`` on the rest.
        seed: of the random numbers; the split does not depend on it.
    """

    modality = "video"

    def __init__(
        self,
        size: int = 12,
        frames: int = 8,
        rate: float = 8,
        clips: int = 20_000,
        split: Literal["train", "held_out"] = "train",
        seed: int = 0,
    ) -> None:
        if size <= DIGIT:
            raise DiffkitError(f"size={size} leaves an {DIGIT}x{DIGIT} digit no room to move; give 9 or more")
        if frames < 1 or clips < 1 or not rate > 0:
            raise DiffkitError(f"frames={frames}, clips={clips} and rate={rate:g} have to be above 0")
        if split not in ("train", "held_out"):
            raise DiffkitError(f"split={split} is neither train nor held_out")
        self._remake = partial(MovingDigits, size, frames, rate, clips, seed=seed) if split == "train" else None
        digits = load_digits()
        order = torch.randperm(len(digits.target), generator=generator("moving_digits", "split"))
        cut = round(TRAINING_SHARE * len(order))
        chosen = order[:cut] if split == "train" else order[cut:]
        self._pictures = torch.from_numpy(digits.images.astype(np.float32) / 16)[chosen]
        self._labels = torch.from_numpy(digits.target.astype(np.int64))[chosen]
        self._room = size - DIGIT
        random = generator("moving_digits", split, seed)
        self._digit = torch.randint(len(chosen), (clips,), generator=random)
        self._start = torch.randint(self._room + 1, (clips, 2), generator=random)
        self._velocity = DIRECTIONS[torch.randint(len(DIRECTIONS), (clips,), generator=random)]
        shape = (frames, size, size)
        std = float(self._draw(torch.arange(min(clips, 256)), shape).std())
        self.spec = DataSpec(1, shape, tuple("0123456789"), std, rate)

    @property
    def labels(self) -> list[int]:
        """The label of every clip."""
        return self._labels[self._digit].tolist()

    @property
    def held_out(self) -> "MovingDigits | None":
        """As many clips of the digits that are held out from the training part."""
        return self._remake(split="held_out") if self._remake else None

    def __len__(self) -> int:
        return len(self._digit)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: list[int]) -> list[tuple[Tensor, int]]:
        which = torch.as_tensor(indices)
        labels = self._labels[self._digit[which]].tolist()
        return list(zip(self._draw(which, self.spec.shape), labels, strict=True))

    def positions(self, which: Tensor, frames: int) -> Tensor:
        """Return where the digit's upper left corner is, ``(clips, frames, 2)``: y and x in whole pixels.

        An edge reflects, so a coordinate is a triangle wave of the distance covered.
        """
        straight = self._start[which, None] + torch.arange(frames)[:, None] * self._velocity[which, None]
        return self._room - (straight.remainder(2 * self._room) - self._room).abs()

    def _draw(self, which: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return clips ``(n, 1, *shape)``: pixel i of the canvas shows row i - y of the digit, and likewise in x."""
        frames, height, width = shape
        at = self.positions(which, frames)
        ys, xs = _placed(at[..., 0], height), _placed(at[..., 1], width)
        pictures = self._pictures[self._digit[which]]
        return (2 * (ys @ pictures[:, None] @ xs.mT) - 1)[:, None]


def _placed(position: Tensor, size: int) -> Tensor:
    """Return matrices ``(..., size, DIGIT)`` of 0 and 1 that put a line of a digit at ``position`` among ``size``."""
    return (torch.arange(size)[:, None] - position[..., None, None] == torch.arange(DIGIT)).float()
