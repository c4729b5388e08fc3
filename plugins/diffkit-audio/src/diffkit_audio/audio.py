"""The modality ``audio``: sound files in, WAV files and a sheet of waveforms and spectrograms out."""

import io
import re
from collections.abc import Sequence
from pathlib import Path

import soundfile
import torch
from torch import Tensor

from diffkit import DataSpec, DiffkitError
from diffkit_audio.resample import ZEROS, resample

_CUT_OFF = re.compile(r"(?:data|SSND) : (\d+) \(should be (\d+)\)")
_UNKNOWN = 0x7FFFF000
"""Lengths from here on are what programs write that did not know the length yet."""


class Audio:
    """Sounds as ``(channels, samples)`` at ``spec.rate`` samples a second."""

    name = "audio"
    rank = 1
    suffixes = (
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3"),
        *(".aif", ".aiff", ".aifc", ".au", ".caf", ".w64", ".rf64"),
    )

    def read(self, path: Path, spec: DataSpec) -> Tensor:
        """Return the start of a file as float32 ``(channels, samples)``: mixed, resampled, cut or padded with silence.

        Raises:
            soundfile.LibsndfileError: where it is not a sound file.
            ValueError: where it is empty, cut off or not finite.
        """
        (length,) = spec.shape
        with soundfile.SoundFile(path) as file:
            claimed = _CUT_OFF.search(file.extra_info)
            if claimed and int(claimed[2]) < int(claimed[1]) < _UNKNOWN:
                raise ValueError(f"cut off after {file.frames / file.samplerate:.3g} s")
            rate = spec.rate or file.samplerate
            # A little more than is kept, for the resampling filter to look ahead.
            wanted = min(
                int((length / rate + 2 * ZEROS / min(rate, file.samplerate)) * file.samplerate) + 1, file.frames
            )
            array = file.read(wanted, dtype="float32", always_2d=True)
            if len(array) < 0.9 * wanted:  # the length that an MP3 file claims is an estimate
                raise ValueError(f"cut off after {len(array) / file.samplerate:.3g} s")
            if not len(array):
                raise ValueError("holds no sound")
            x = mix(torch.from_numpy(array).T, spec.channels)
            x = resample(x.contiguous(), file.samplerate, rate, length)
        if not x.isfinite().all():
            raise ValueError("holds values that are not finite")
        return x.clamp(-1, 1)

    def check(self, x: Tensor, spec: DataSpec) -> None:
        """Raise :class:`~diffkit.DiffkitError` where ``x`` is not a sound of this spec."""
        if spec.rank != 1:
            raise DiffkitError(f"a sound has one axis, samples, but the data has {spec.rank}; choose another modality")
        if spec.rate <= 0:
            raise DiffkitError(f"a sound needs a rate in samples a second; this data's spec says rate={spec.rate:g}")
        if tuple(x.shape) != (spec.channels, *spec.shape):
            raise DiffkitError(f"a sound here has shape {(spec.channels, *spec.shape)}, but this one {tuple(x.shape)}")
        if not x.is_floating_point() or not x.isfinite().all() or x.abs().max() > 1:
            raise DiffkitError("a sound's values are finite floats in [-1, 1]; scale it, as by x / x.abs().max()")

    def save(self, x: Tensor, stem: Path, spec: DataSpec) -> list[Path]:
        """Write ``stem.wav``: 16-bit PCM at ``spec.rate``, values beyond [-1, 1] clipped."""
        path = stem.with_name(f"{stem.name}.wav")
        file = io.BytesIO()
        pcm = (x.detach().cpu().float().nan_to_num() * 32768).round().clamp(-32768, 32767).to(torch.int16)
        soundfile.write(file, pcm.T.numpy(), round(spec.rate), format="WAV", subtype="PCM_16")
        path.write_bytes(file.getbuffer())
        return [path]

    def sheet(self, xs: Tensor, titles: Sequence[str], path: Path, spec: DataSpec, group: int = 1) -> None:
        """Write a picture of sounds ``(n, channels, samples)``: the waveform and spectrogram of each, with axes."""
        from diffkit.sheet import contact_sheet
        from diffkit_audio.tile import tile

        contact_sheet([tile(x, spec.rate) for x in xs.detach().cpu().float()], titles, path, group)


def mix(x: Tensor, channels: int) -> Tensor:
    """Return ``(channels, samples)`` of sound ``x`` with any number of channels.

    One channel is the mean of all; one channel spreads to many; else the first ones are taken.
    """
    if channels == 1:
        return x.mean(0, keepdim=True)
    if len(x) == 1:
        return x.expand(channels, -1)
    if len(x) < channels:
        raise ValueError(f"has {len(x)} channels, fewer than {channels}")
    return x[:channels]
