"""Sound for diffkit: the modality ``audio``, the data sets ``notes`` and ``audio_folder``, the encoder ``mdct``."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_audio.audio import Audio
    from diffkit_audio.folder import AudioFolder
    from diffkit_audio.mdct import MDCT
    from diffkit_audio.notes import Notes
    from diffkit_audio.pitches import frequency, pitch

_lazy = {
    "Audio": "diffkit_audio.audio",
    "AudioFolder": "diffkit_audio.folder",
    "MDCT": "diffkit_audio.mdct",
    "Notes": "diffkit_audio.notes",
    "frequency": "diffkit_audio.pitches",
    "pitch": "diffkit_audio.pitches",
}
__getattr__, __dir__ = lazily(__name__, _lazy)
__all__ = ["MDCT", "Audio", "AudioFolder", "Notes", "frequency", "pitch"]
