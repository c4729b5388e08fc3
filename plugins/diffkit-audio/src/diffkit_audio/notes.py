"""The data set ``notes``: plucked strings by physical modelling.

A string is a delay line whose end feeds its start: a wave takes one period to travel it and loses a little on the
way. This is the extended Karplus-Strong algorithm of D. Jaffe and J. O. Smith, "Extensions of the Karplus-Strong
plucked-string algorithm", Computer Music Journal 7(2), 1983, whose letters are used below.
"""

import math

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
        self._labels = [i % len(labels) for i in range(n)]
        frequencies = torch.tensor([frequency(labels[label]) for label in self._labels], dtype=torch.float64)
        self._items = pluck(frequencies, length, rate, generator(seed, "notes"))[:, None]

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._items[index], self._labels[index]


def pluck(frequencies: Tensor, length: int, rate: float, generator: torch.Generator) -> Tensor:
    """Return plucked strings of ``frequencies`` (n,) in Hz, float32 ``(n, length)``, their peaks from 0.3 to 0.9."""
    n = len(frequencies)

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator, dtype=torch.float64)

    hardness = between(0, 1)
    omega = 2 * math.pi * frequencies / rate
    # The loss of one period: a gain ρ that decays by 60 dB in t60 seconds, and a one-zero low-pass 1 - S + S z⁻¹.
    t60 = torch.exp(between(math.log(1.0), math.log(4.0)))
    rho = 10 ** (-3 / (frequencies * t60))
    s = between(0.1, 0.5) * (200 / frequencies).clamp_max(1) ** 1.5  # short strings pass the low-pass more often
    # The loop's phase delay at the fundamental is one period: N samples, the low-pass's share, and an all-pass for
    # the rest, whose coefficient C makes its phase delay exact there.
    lag = torch.atan2(s * omega.sin(), 1 - s + s * omega.cos()) / omega
    rest = rate / frequencies - lag
    whole = (rest - 0.3).floor().long()
    fraction = rest - whole
    c = torch.sin((1 - fraction) * omega / 2) / torch.sin((1 + fraction) * omega / 2)
    burst = _excite(whole, hardness, between(0.05, 0.5), between(0, 0.5), generator)
    y = _loop(burst, whole, rho, s, c, length)

    y = y * ((0.3 + 0.6 * hardness) / y.abs().amax(1).clamp_min(1e-9)).float()[:, None]
    fade = min(round(RELEASE * rate), length)
    y[:, length - fade :] *= torch.linspace(1, 0, fade + 1)[1:].square()
    return y


def _excite(whole: Tensor, hardness: Tensor, place: Tensor, noisiness: Tensor, generator: torch.Generator) -> Tensor:
    """Return what the finger does to each string, ``(n, samples)`` over two periods.

    A pulse and a period of noise, through the comb 1 - z^(-place N) of plucking at ``place`` (a part of the
    string's length), and the one-pole low-pass of plucking softly.
    """
    n, longest = len(whole), int(whole.max())
    time = torch.arange(longest)
    x = torch.randn(n, longest, generator=generator, dtype=torch.float64) * (time < whole[:, None])
    x *= (noisiness / whole.sqrt())[:, None]
    x[:, 0] += 1
    delay = (place * whole).round().long().clamp_min(1)
    padded = torch.nn.functional.pad(x, (0, longest))
    past = torch.arange(2 * longest) - delay[:, None]
    x = padded - padded.gather(1, past.clamp_min(0)) * (past >= 0)
    pole = 0.95 - 0.3 * hardness
    y, state = torch.empty_like(x), torch.zeros(n, dtype=x.dtype)
    for i in range(x.shape[1]):
        state = torch.lerp(x[:, i], state, pole)
        y[:, i] = state
    return y


def _loop(burst: Tensor, whole: Tensor, rho: Tensor, s: Tensor, c: Tensor, length: int) -> Tensor:
    """Return ``(n, length)``: the strings ring, sample by sample, all at once."""
    n, longest = len(whole), int(whole.max())
    burst, rho, s, c = burst.float(), rho.float(), s.float(), c.float()
    silence = longest + 1
    y = torch.zeros(silence + length, n)  # time first: a step touches neighbouring memory
    flat = y.view(-1)
    taps = (silence - whole) * n + torch.arange(n)
    near, far = rho * (1 - s), rho * s
    before, w_before, u = (torch.zeros(n) for _ in range(3))
    for i in range(length):
        now = flat[taps + i * n]
        w = near * now + far * before
        u = w_before + c * (w - u)
        y[silence + i] = u + burst[:, i] if i < burst.shape[1] else u
        before, w_before = now, w
    return y[silence:].T.contiguous()
