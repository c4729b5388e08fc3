"""What diffkit-image registers."""

from collections.abc import Iterator

from diffkit import Component, hookimpl


@hookimpl
def diffkit_modalities() -> Iterator[Component]:
    """Register the modality."""
    yield Component("image", "diffkit_image.image:Image", "pictures, grey or RGB: PNG files and a contact sheet")


@hookimpl
def diffkit_datasets() -> Iterator[Component]:
    """Register the data sets."""
    yield Component("digits", "diffkit_image.digits:Digits", "1,797 real handwritten digits, 8x8, from scikit-learn")
    yield Component("image_folder", "diffkit_image.folder:ImageFolder", "a folder of pictures, one class a sub-folder")


@hookimpl
def diffkit_augmentations() -> Iterator[Component]:
    """Register the augmentation."""
    yield Component("flip", "diffkit_image.flip:Flip", "mirror some of the items left to right")
