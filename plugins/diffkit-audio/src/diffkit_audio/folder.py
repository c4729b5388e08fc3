"""The data set ``audio_folder``: recordings of one's own."""

from pathlib import Path

import numpy as np
import torch

from diffkit import DataSpec, DiffkitError, FolderData
from diffkit_audio.audio import Audio


class AudioFolder(FolderData):
    """Sound files in a folder; sub-folders are classes.

    The start of every file is taken: ``seconds`` of it, followed by silence where it is shorter.

    Args:
        path: the folder.
        rate: samples a second; files at another rate are resampled.
        seconds: the length of an item.
        channels: 1 for mono (a file's channels are averaged), 2 for stereo.
    """

    modality = "audio"

    def __init__(self, path: str, rate: int = 16000, seconds: float = 1.0, channels: int = 1) -> None:
        length = samples(rate, seconds)
        if not 1 <= channels <= 8:
            raise DiffkitError(f"channels={channels} is not a number of channels; give 1 to 8, such as data.channels=1")
        audio, spec = Audio(), DataSpec(channels, (length,), rate=float(rate))

        def decode(file: Path) -> np.ndarray:
            pcm = (audio.read(file, spec) * 32768).round().clamp(-32768, 32767)
            return pcm.to(torch.int16).numpy()

        super().__init__(path, audio.suffixes, decode, spec, dtype="int16", salt=f"audio 1 {rate}")


def samples(rate: int, seconds: float) -> int:
    """Return the number of samples in ``seconds`` at ``rate``, once both are in range."""
    if not 1000 <= rate <= 192000:
        raise DiffkitError(f"rate={rate} is not a sample rate; give 1000 to 192000 a second, such as data.rate=16000")
    if not 0.01 <= seconds <= 600:
        raise DiffkitError(f"seconds={seconds:g} is not a length; give 0.01 to 600, such as data.seconds=1")
    return round(rate * seconds)
