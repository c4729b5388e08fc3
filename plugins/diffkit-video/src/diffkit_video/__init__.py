"""Video for diffkit: the modality, moving digits, and a folder of your own clips."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_video.folder import VideoFolder
    from diffkit_video.moving_digits import MovingDigits
    from diffkit_video.video import Video

__getattr__, __dir__ = lazily(
    __name__,
    {
        "MovingDigits": "diffkit_video.moving_digits",
        "Video": "diffkit_video.video",
        "VideoFolder": "diffkit_video.folder",
    },
)
__all__ = ["MovingDigits", "Video", "VideoFolder"]
