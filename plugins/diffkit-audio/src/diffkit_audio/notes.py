"""The data set ``notes``: plucked strings by physical modelling.

A string is a delay line whose end feeds its start: a wave takes one period to travel it and loses a little on the
way. This is the extended Karplus-Strong algorithm of D. Jaffe and J. O. Smith, "Extensions of the Karplus-Strong
plucked-string algorithm", Computer Music Journal 7(2), 1983, whose letters are used below.
"""

import numpy as np
import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError, generator
from diffkit_audio.folder import samples
from diffkit_audio.pitches import frequency, number, pitch

RELEASE = 0.02
"""Seconds in which the hand damps the string at the end of a note."""


class Notes:
    """Plucked strings, one class a semitone from ``low`` to ``high``, synthesised in a second or so.

    Every note is in tune to a fraction of a cent; where it is plucked, how hard, with how much noise, and how fast
    and how dully it decays differ from note to note.

    Args:
        low: the lowest pitch, such as "C3".
        high: the highest.
        n: how many notes, the pitches taking turns.
        rate: samples a second.
        seconds: the length of a note.
        seed: other seeds give other notes of the same kind.
    """

    modality = "audio"

    def __init__(
        self, low: str = "C3", high: str = "B4", n: int = 3072, rate: int = 8000, seconds: float = 0.512, seed: int = 0
    ) -> None:
        length, lowest, highest = samples(rate, seconds), number(low), number(high)
        if lowest > highest:
            raise DiffkitError(f"low={low} is higher than high={high}; exchange them: data.low={high} data.high={low}")
        if n < 1:
            raise DiffkitError(f"n={n} is not a number of notes; give 1 or more, such as data.n=3072")
        labels = tuple(pitch(midi) for midi in range(lowest, highest + 1))
        if frequency(low) < 20 or frequency(high) > rate / 6:
            raise DiffkitError(
                f"pitches from {low} to {high} are not all within 20 to {rate / 6:.0f} Hz, what rate={rate} has room "
                f"for with a few overtones; give others, such as data.low=C3 data.high=B4, or a higher data.rate"
            )
        self.spec = DataSpec(1, (length,), labels, rate=float(rate))
        self.labels = [i % len(labels) for i in range(n)]
        frequencies = torch.tensor([frequency(labels[label]) for label in self.labels], dtype=torch.float64)
        self._items = pluck(frequencies, length, rate, generator(seed, "notes"))[:, None]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._items[index], self.labels[index]


def pluck(frequencies: Tensor, length: int, rate: float, generator: torch.Generator) -> Tensor:
    """Return plucked strings of ``frequencies`` (n,) in Hz, float32 ``(n, length)``, their peaks from 0.3 to 0.9."""
    f = frequencies.double().numpy()

    def between(low: float, high: float) -> np.ndarray:
        return low + (high - low) * torch.rand(len(f), generator=generator, dtype=torch.float64).numpy()

    hardness = between(0, 1)
    omega = 2 * np.pi * f / rate
    # The loss of one period: a gain ρ that decays by 60 dB in t60 seconds, and a one-zero low-pass 1 - S + S z⁻¹, which
    # short strings pass more often.
    t60 = np.exp(between(np.log(1.0), np.log(4.0)))
    rho = 10 ** (-3 / (f * t60))
    s = between(0.1, 0.5) * np.minimum(200 / f, 1) ** 1.5
    # The loop's phase delay at the fundamental is one period: N samples, the low-pass's share, and an all-pass for
    # the rest, whose coefficient C makes its phase delay exact there.
    lag = np.arctan2(s * np.sin(omega), 1 - s + s * np.cos(omega)) / omega
    rest = rate / f - lag
    whole = np.floor(rest - 0.3).astype(np.int64)
    fraction = rest - whole
    c = np.sin((1 - fraction) * omega / 2) / np.sin((1 + fraction) * omega / 2)

    noise = torch.randn(len(f), int(whole.max()), generator=generator, dtype=torch.float64).numpy()
    burst = _excite(whole, hardness, between(0.05, 0.5), between(0, 0.5), noise)
    y = _loop(burst, whole, rho, s, c, length)
    y *= ((0.3 + 0.6 * hardness) / np.maximum(np.abs(y).max(1), 1e-9)).astype(np.float32)[:, None]
    fade = min(round(RELEASE * rate), length)
    y[:, length - fade :] *= np.linspace(1, 0, fade + 1, dtype=np.float32)[1:] ** 2
    return torch.from_numpy(y)


def _excite(
    whole: np.ndarray, hardness: np.ndarray, place: np.ndarray, noisiness: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    """Return what the finger does to each string, ``(n, samples)`` over two periods.

    A pulse and a period of noise, through the comb 1 - z^(-place N) of plucking at ``place`` (a part of the
    string's length), and the one-pole low-pass of plucking softly.
    """
    n, longest = noise.shape
    x = np.zeros((n, 2 * longest))
    x[:, :longest] = noise * (np.arange(longest) < whole[:, None]) * (noisiness / np.sqrt(whole))[:, None]
    x[:, 0] += 1
    past = np.arange(2 * longest) - np.maximum(np.round(place * whole).astype(np.int64), 1)[:, None]
    x -= np.take_along_axis(x, np.maximum(past, 0), 1) * (past >= 0)
    pole, state = 0.95 - 0.3 * hardness, np.zeros(n)
    for i in range(2 * longest):
        state = pole * state + (1 - pole) * x[:, i]
        x[:, i] = state
    return x


def _loop(
    burst: np.ndarray, whole: np.ndarray, rho: np.ndarray, s: np.ndarray, c: np.ndarray, length: int
) -> np.ndarray:
    """Return ``(n, length)``, float32: the strings ring, sample by sample, all at once."""
    n, longest = len(whole), int(whole.max())
    # Time first, so that a step touches neighbouring memory; numpy, whose small steps no busy thread can hold up.
    y = np.zeros((longest + length, n), dtype=np.float32)
    y[longest : longest + burst.shape[1]] = burst.T[:length]
    near, far, c = ((rho * (1 - s)).astype(np.float32), (rho * s).astype(np.float32), c.astype(np.float32))
    taps = (longest - whole) * n + np.arange(n)
    before, w_before, u = np.zeros((3, n), dtype=np.float32)
    for i in range(length):
        now = y.ravel()[taps + i * n]
        w = near * now + far * before
        u = w_before + c * (w - u)
        y[longest + i] += u
        before, w_before = now, w
    return np.ascontiguousarray(y[longest:].T)
