"""Folders of pictures."""

from functools import partial

import PIL

from diffkit import DataSpec, DiffkitError, FolderData
from diffkit_image.image import MODES, Image, decode


class ImageFolder(FolderData):
    """A folder of pictures, cropped around the centre and resized to squares; sub-folders are classes.

    Files that are no pictures or are damaged are skipped, counted and named in a warning; see
    :class:`~diffkit.FolderData`.

    Args:
        path: the folder.
        size: height and width in pixels, from 4 to 2048.
        channels: 3 for RGB or 1 for grey.
    """

    modality = "image"

    def __init__(self, path: str, size: int = 64, channels: int = 3) -> None:
        if not 4 <= size <= 2048:
            raise DiffkitError(f"size={size} is not a size for pictures; give 4 to 2048 pixels: data.size=64")
        if channels not in MODES:
            raise DiffkitError(f"channels={channels} is not a kind of picture; give 1 for grey or 3 for RGB")
        spec = DataSpec(channels, (size, size))
        salt = f"image 1, Pillow {PIL.__version__}"
        super().__init__(path, Image.suffixes, partial(decode, spec=spec), spec, salt=salt)
