"""What this package brings."""

from collections.abc import Iterator

from diffkit import Component, hookimpl


@hookimpl
def diffkit_modalities() -> Iterator[Component]:
    """Register the modality."""
    yield Component(
        "audio", "diffkit_audio.audio:Audio", "sounds: WAV files, and a sheet of waveforms and spectrograms"
    )


@hookimpl
def diffkit_datasets() -> Iterator[Component]:
    """Register the data sets."""
    yield Component("notes", "diffkit_audio.notes:Notes", "plucked strings by physical modelling, labelled by pitch")
    yield Component("audio_folder", "diffkit_audio.folder:AudioFolder", "your own recordings; sub-folders are classes")


@hookimpl
def diffkit_encoders() -> Iterator[Component]:
    """Register the encoder."""
    yield Component("mdct", "diffkit_audio.mdct:MDCT", "a sound as frames of a lapped cosine transform, compressed")
