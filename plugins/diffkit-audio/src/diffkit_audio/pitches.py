"""Names of pitches and their frequencies: equal temperament, A4 = 440 Hz."""

import re

from diffkit import DiffkitError

NAMES = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
"""The twelve semitones of an octave, with flats: a ``#`` needs quoting in a shell."""

_PITCH = re.compile(r"([A-Ga-g])([b#]?)(-?\d)")


def number(name: str) -> int:
    """Return the MIDI number of a pitch: 69 for "A4", 61 for "Db4" and "C#4".

    Raises:
        DiffkitError: where ``name`` is not a pitch.
    """
    found = _PITCH.fullmatch(name.strip())
    if not found:
        raise DiffkitError(f"'{name}' is not a pitch; give a letter, b or # if any, and an octave, such as C4 or Bb3")
    letter, accidental, octave = found.groups()
    step = NAMES.index(letter.upper()) + {"b": -1, "": 0, "#": 1}[accidental]
    return 12 * (int(octave) + 1) + step


def pitch(number: int) -> str:
    """Return the name of MIDI number ``number``: "A4" for 69."""
    octave, step = divmod(number, 12)
    return f"{NAMES[step]}{octave - 1}"


def frequency(name: str) -> float:
    """Return the frequency of a pitch in Hz: 440.0 for "A4"."""
    return 440.0 * 2 ** ((number(name) - 69) / 12)
