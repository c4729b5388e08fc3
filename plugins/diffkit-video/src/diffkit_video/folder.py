"""A folder of your own clips."""

from functools import partial

import av

from diffkit import DataSpec, DiffkitError, FolderData
from diffkit_video.decode import SUFFIXES, decode


class VideoFolder(FolderData):
    """The clips in a folder; each sub-folder is a class, named by the folder.

    Of each file the first ``frames`` frames at ``rate`` a second are taken, cropped about the centre and resized.
    Files that are too short, damaged or no video are skipped, counted and named.

    Args:
        path: the folder.
        frames: how many frames an item has.
        size: height and width of an item in pixels.
        rate: frames a second.
        channels: 3 for colour, 1 for grey.
    """

    modality = "video"

    def __init__(self, path: str, frames: int = 16, size: int = 64, rate: float = 8, channels: int = 3) -> None:
        if frames < 1 or size < 1:
            raise DiffkitError(f"frames={frames} and size={size}: both are 1 or more, such as frames=16 size=64")
        if not 0 < rate <= 1000:
            raise DiffkitError(f"rate={rate:g} is not a number of frames a second above 0, such as rate=8")
        if channels not in (1, 3):
            raise DiffkitError(f"channels={channels} is neither 3 for colour nor 1 for grey")
        spec = DataSpec(channels, (frames, size, size), rate=rate)
        salt = f"video 1, PyAV {av.__version__}, {rate:g}"
        super().__init__(path, SUFFIXES, partial(decode, spec=spec), spec, salt=salt)
