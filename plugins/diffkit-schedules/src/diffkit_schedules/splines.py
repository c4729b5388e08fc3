"""Smooth curves through n numbers at equal distances, as functions of the place from 0 (the first) to n - 1."""

import torch
from torch import Tensor


def _pieces(places: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return which of ``count`` pieces each place is on, and how far along it is, from 0 to 1."""
    index = places.detach().floor().clamp(0, count - 1).long()
    return index, places - index


class Falling:
    """A strictly falling curve through strictly falling values, with a closed inverse: rational quadratic pieces.

    Gregory & Delbourgo, "Piecewise Rational Quadratic Interpolation to Monotonic Data" (1982). On a piece that falls by
    h, with a h and b h its slopes at both ends and k = a + b - 2, the share that is fallen after a part s of it is

        p = (s² + a s (1 - s)) / (1 + k s (1 - s)),    s = 2p / (c + √(c² + 4p (1 - c))),    c = a - k p.

    The slope at an inner value is the geometric mean of the two falls beside it, and beyond the outer values the ratio
    of falls is taken to go on. The curve and its slope are continuous, and it falls everywhere.

    Args:
        values: ``(n,)``, float64, strictly falling, n of 2 or more.
    """

    def __init__(self, values: Tensor) -> None:
        self.values = values
        self._fall = -values.diff()
        mean = (self._fall[1:] * self._fall[:-1]).sqrt()
        if len(mean):
            slopes = torch.cat((self._fall[:1] ** 2 / mean[:1], mean, self._fall[-1:] ** 2 / mean[-1:]))
        else:
            slopes = self._fall.expand(2)
        self._a, self._b = slopes[:-1] / self._fall, slopes[1:] / self._fall

    def __call__(self, places: Tensor) -> Tensor:
        """Return the values at ``places`` from 0 to n - 1."""
        i, s = _pieces(places, len(self._fall))
        a, k = self._a[i], self._a[i] + self._b[i] - 2
        rest = s * (1 - s)
        return self.values[i] - self._fall[i] * (s * s + a * rest) / (1 + k * rest)

    def place(self, values: Tensor) -> Tensor:
        """Return the places of ``values``, the first or the last where they are beyond the ends."""
        values = values.clamp(self.values[-1], self.values[0])
        i = (torch.searchsorted(-self.values, -values.detach().contiguous()) - 1).clamp(0, len(self._fall) - 1)
        p = (self.values[i] - values) / self._fall[i]
        c = self._a[i] - (self._a[i] + self._b[i] - 2) * p
        return i + 2 * p / (c + (c * c + 4 * p * (1 - c)).sqrt())


class Smooth:
    """A curve with a continuous slope through any values: cubic pieces, with the mean of two differences as the slope.

    Args:
        values: ``(n,)``, float64, n of 2 or more.
    """

    def __init__(self, values: Tensor) -> None:
        step = values.diff()
        slopes = torch.cat((step[:1], (step[1:] + step[:-1]) / 2, step[-1:]))
        first, last = slopes[:-1], slopes[1:]
        self._terms = torch.stack((values[:-1], first, 3 * step - 2 * first - last, first + last - 2 * step))

    def __call__(self, places: Tensor) -> Tensor:
        """Return the values at ``places`` from 0 to n - 1."""
        i, s = _pieces(places, self._terms.shape[1])
        d0, d1, d2, d3 = self._terms[:, i]
        return d0 + s * (d1 + s * (d2 + s * d3))
