"""What this package brings to diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_modalities() -> Iterable[Component]:
    """The modality of clips."""
    yield Component("video", "diffkit_video.video:Video", "clips: MP4 and GIF files, and frames in rows")


@hookimpl
def diffkit_datasets() -> Iterable[Component]:
    """Data sets of clips."""
    yield Component("moving_digits", "diffkit_video.moving_digits:MovingDigits", "real digits bouncing on a canvas")
    yield Component("video_folder", "diffkit_video.folder:VideoFolder", "a folder of clips, one class a sub-folder")
