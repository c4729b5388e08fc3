"""Images for diffkit: the modality, the data sets ``digits`` and ``image_folder``, and the augmentation ``flip``."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_image.digits import Digits
    from diffkit_image.flip import Flip
    from diffkit_image.folder import ImageFolder
    from diffkit_image.image import Image

__getattr__, __dir__ = lazily(
    __name__,
    {
        "Digits": "diffkit_image.digits",
        "Flip": "diffkit_image.flip",
        "Image": "diffkit_image.image",
        "ImageFolder": "diffkit_image.folder",
    },
)
__all__ = ["Digits", "Flip", "Image", "ImageFolder"]
