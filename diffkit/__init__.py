"""diffkit trains, samples, evaluates and ships diffusion models for images, audio and video.

Everything a user or a plugin author needs is a name of this package; torch is imported when one of the names that
need it is first used.
"""

from typing import TYPE_CHECKING

from diffkit.errors import DiffkitError
from diffkit.hookspecs import Component, hookimpl
from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit.catalog import build
    from diffkit.config.compose import compose
    from diffkit.contracts.network import ConditionSpec, DataSpec
    from diffkit.contracts.schedule import Level, derivatives, levels, levels_at
    from diffkit.data.folder import FolderData
    from diffkit.denoiser import Denoiser
    from diffkit.linear import scaled, summed
    from diffkit.progress import Progress
    from diffkit.run.averages import reconstruct
    from diffkit.run.export import export
    from diffkit.run.folder import RunFolder
    from diffkit.run.load import keep, load
    from diffkit.run.model import Model
    from diffkit.run.train import train
    from diffkit.sampler import Point, StepSampler
    from diffkit.secrets import redacted
    from diffkit.streams import Streams, generator

__version__ = "0.1.0"

_lazy = {
    "ConditionSpec": "diffkit.contracts.network",
    "DataSpec": "diffkit.contracts.network",
    "Denoiser": "diffkit.denoiser",
    "FolderData": "diffkit.data.folder",
    "Level": "diffkit.contracts.schedule",
    "Model": "diffkit.run.model",
    "Point": "diffkit.sampler",
    "Progress": "diffkit.progress",
    "RunFolder": "diffkit.run.folder",
    "StepSampler": "diffkit.sampler",
    "Streams": "diffkit.streams",
    "build": "diffkit.catalog",
    "compose": "diffkit.config.compose",
    "derivatives": "diffkit.contracts.schedule",
    "export": "diffkit.run.export",
    "generator": "diffkit.streams",
    "keep": "diffkit.run.load",
    "levels": "diffkit.contracts.schedule",
    "levels_at": "diffkit.contracts.schedule",
    "load": "diffkit.run.load",
    "reconstruct": "diffkit.run.averages",
    "redacted": "diffkit.secrets",
    "scaled": "diffkit.linear",
    "summed": "diffkit.linear",
    "train": "diffkit.run.train",
}
__getattr__, __dir__ = lazily(__name__, _lazy)
__all__ = [
    "Component",
    "ConditionSpec",
    "DataSpec",
    "Denoiser",
    "DiffkitError",
    "FolderData",
    "Level",
    "Model",
    "Point",
    "Progress",
    "RunFolder",
    "StepSampler",
    "Streams",
    "__version__",
    "build",
    "compose",
    "derivatives",
    "export",
    "generator",
    "hookimpl",
    "keep",
    "levels",
    "levels_at",
    "load",
    "reconstruct",
    "redacted",
    "scaled",
    "summed",
    "train",
]
