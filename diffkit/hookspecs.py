"""The hooks a plugin may implement. Each is a generator of :class:`Component` records, one a line.

A plugin is a Python distribution with an entry point in the group ``diffkit`` that names a module with hooks:

    [project.entry-points.diffkit]
    my_package = "my_package.plugin"

All hooks follow one form. They are called once a process, when somebody first asks what is installed; a record's
target is a string, imported when a run picks the component and not before, so the module of the hooks should import
nothing heavy. A component's options are its constructor's keyword parameters with their annotations and defaults; a
parameter named ``spec`` is no option: the core fills in the :class:`~diffkit.DataSpec` of what the model sees.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

import pluggy

PROJECT = "diffkit"
CONTRACT = 1
"""The version of the contract below; it is raised when a change breaks plugins, and only then."""

hookimpl = pluggy.HookimplMarker(PROJECT)
_marker = pluggy.HookspecMarker(PROJECT)
Hook = TypeVar("Hook", bound=Callable[..., Any])


@dataclass(frozen=True)
class Component:
    """One named thing that a plugin brings.

    Args:
        name: what a user types, as in ``schedule=cosine``: letters, digits and underscores.
        target: where it is: ``"package.module:Class"``, or for a recipe ``"package:folder/file.yaml"``.
        summary: one line for ``diffkit plugins list`` and for shell completion.
    """

    name: str
    target: str
    summary: str = ""


def hookspec(contract: int) -> Callable[[Hook], Hook]:
    """Mark a hook spec and note the version of the contract in which it came."""

    def mark(function: Hook) -> Hook:
        function.contract = contract  # type: ignore[attr-defined]
        return _marker(function)

    return mark


@hookspec(contract=1)
def diffkit_schedules() -> Iterable[Component]:
    """Register noise schedules: choices for ``+schedule=NAME``.

    The target is a :class:`~diffkit.contracts.schedule.Schedule`: α(t), σ(t), λ(t) and the inverse t(λ).

    >>> @hookimpl
    ... def diffkit_schedules():
    ...     yield Component("cosine", "my_package.cosine:Cosine", "α = cos(πt/2)")
    >>> [component.name for component in diffkit_schedules()]
    ['cosine']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_networks() -> Iterable[Component]:
    """Register networks: choices for ``+net=NAME``.

    The target is a :class:`~diffkit.contracts.network.Network`: a torch module built for a ``spec``, told λ.

    >>> @hookimpl
    ... def diffkit_networks():
    ...     yield Component("unet", "my_package.unet:UNet", "convolutions at several resolutions")
    >>> [component.name for component in diffkit_networks()]
    ['unet']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_predictions() -> Iterable[Component]:
    """Register predictions: choices for ``prediction=NAME``.

    The target is a :class:`~diffkit.contracts.objective.Prediction`: what the network's output means.

    >>> @hookimpl
    ... def diffkit_predictions():
    ...     yield Component("v", "my_package.velocity:V", "v = αε - σx0")
    >>> [component.name for component in diffkit_predictions()]
    ['v']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_weightings() -> Iterable[Component]:
    """Register loss weightings: choices for ``weighting=NAME``.

    The target is a :class:`~diffkit.contracts.objective.Weighting`: a weight on the error of x0 by λ.

    >>> @hookimpl
    ... def diffkit_weightings():
    ...     yield Component("min_snr", "my_package.min_snr:MinSNR", "SNR, cut off at gamma")
    >>> [component.name for component in diffkit_weightings()]
    ['min_snr']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_times() -> Iterable[Component]:
    """Register time distributions: choices for ``times=NAME``.

    The target is a :class:`~diffkit.contracts.objective.Times`: which times a training batch visits.

    >>> @hookimpl
    ... def diffkit_times():
    ...     yield Component("logit_normal", "my_package.times:LogitNormal", "middle times more often")
    >>> [component.name for component in diffkit_times()]
    ['logit_normal']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_noises() -> Iterable[Component]:
    """Register noise models: choices for ``noise=NAME``.

    The target is a :class:`~diffkit.contracts.objective.Noise`: unit-variance noise for the forward process.

    >>> @hookimpl
    ... def diffkit_noises():
    ...     yield Component("offset", "my_package.noise:Offset", "normal noise with a random mean per channel")
    >>> [component.name for component in diffkit_noises()]
    ['offset']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_samplers() -> Iterable[Component]:
    """Register samplers: choices for ``sampler=NAME``.

    The target is a :class:`~diffkit.contracts.sampling.Sampler`: a solver, written in α, σ and λ.

    >>> @hookimpl
    ... def diffkit_samplers():
    ...     yield Component("ddim", "my_package.ddim:DDIM", "deterministic first order")
    >>> [component.name for component in diffkit_samplers()]
    ['ddim']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_grids() -> Iterable[Component]:
    """Register grids: choices for ``grid=NAME``.

    The target is a :class:`~diffkit.contracts.sampling.Grid`: where a sampler steps.

    >>> @hookimpl
    ... def diffkit_grids():
    ...     yield Component("karras", "my_package.karras:Karras", "uniform in the ρ-th root of σ/α")
    >>> [component.name for component in diffkit_grids()]
    ['karras']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_guidances() -> Iterable[Component]:
    """Register guidances: choices for ``guidance=NAME``.

    The target is a :class:`~diffkit.contracts.sampling.Guidance`: wraps a denoiser and returns a denoiser.

    >>> @hookimpl
    ... def diffkit_guidances():
    ...     yield Component("cfg", "my_package.cfg:CFG", "classifier-free guidance")
    >>> [component.name for component in diffkit_guidances()]
    ['cfg']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_modalities() -> Iterable[Component]:
    """Register modalities: choices for ``modality=NAME``, or by a data set that belongs to it.

    The target is a :class:`~diffkit.contracts.data.Modality`: how one item is read, checked, saved and shown.

    >>> @hookimpl
    ... def diffkit_modalities():
    ...     yield Component("image", "my_package.image:Image", "pictures: PNG files and a contact sheet")
    >>> [component.name for component in diffkit_modalities()]
    ['image']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_datasets() -> Iterable[Component]:
    """Register data sets: choices for ``data=NAME``.

    The target is a :class:`~diffkit.contracts.data.Dataset`: labelled items, and their modality.

    >>> @hookimpl
    ... def diffkit_datasets():
    ...     yield Component("digits", "my_package.digits:Digits", "handwritten digits, 8x8")
    >>> [component.name for component in diffkit_datasets()]
    ['digits']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_encoders() -> Iterable[Component]:
    """Register encoders: choices for ``encoder=NAME``.

    The target is a :class:`~diffkit.contracts.data.Encoder`: data to latents and back.

    >>> @hookimpl
    ... def diffkit_encoders():
    ...     yield Component("mdct", "my_package.mdct:MDCT", "a sound as frames of a cosine transform")
    >>> [component.name for component in diffkit_encoders()]
    ['mdct']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_augmentations() -> Iterable[Component]:
    """Register augmentations: choices for ``augment=NAME``.

    The target is a :class:`~diffkit.contracts.data.Augmentation`: a random change of a training batch.

    >>> @hookimpl
    ... def diffkit_augmentations():
    ...     yield Component("flip", "my_package.flip:Flip", "mirror half of the pictures")
    >>> [component.name for component in diffkit_augmentations()]
    ['flip']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_optimizers() -> Iterable[Component]:
    """Register optimizers: choices for ``optim=NAME``.

    The target is a :class:`~diffkit.contracts.training.Optimizer`: a torch optimizer and its learning rate by step.

    >>> @hookimpl
    ... def diffkit_optimizers():
    ...     yield Component("adamw", "my_package.adamw:AdamW", "Adam with decoupled weight decay")
    >>> [component.name for component in diffkit_optimizers()]
    ['adamw']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_adaptations() -> Iterable[Component]:
    """Register ways of fine-tuning: choices for ``adapt=NAME``.

    The target is an :class:`~diffkit.contracts.training.Adaptation`: where a network starts, and what of it is trained.

    >>> @hookimpl
    ... def diffkit_adaptations():
    ...     yield Component("lora", "my_package.lora:LoRA", "a matrix of low rank added to each layer's")
    >>> [component.name for component in diffkit_adaptations()]
    ['lora']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_trackers() -> Iterable[Component]:
    """Register trackers: choices for ``tracker=NAME``.

    The target is a :class:`~diffkit.contracts.training.Tracker`: where numbers and sheets go besides the run's folder.

    >>> @hookimpl
    ... def diffkit_trackers():
    ...     yield Component("csv", "my_package.csv:Csv", "metrics.csv for spreadsheets")
    >>> [component.name for component in diffkit_trackers()]
    ['csv']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_callbacks() -> Iterable[Component]:
    """Register callbacks: choices for ``callback=NAME``.

    The target is a :class:`~diffkit.contracts.training.Callback`: sees the logged values and may stop the training.

    >>> @hookimpl
    ... def diffkit_callbacks():
    ...     yield Component("patience", "my_package.patience:Patience", "stop when the loss no longer falls")
    >>> [component.name for component in diffkit_callbacks()]
    ['patience']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_metrics() -> Iterable[Component]:
    """Register metrics: choices for an evaluation.

    The target is a :class:`~diffkit.contracts.training.Metric`: numbers that say how good samples are.

    >>> @hookimpl
    ... def diffkit_metrics():
    ...     yield Component("frechet", "my_package.frechet:Frechet", "Fréchet distance between features")
    >>> [component.name for component in diffkit_metrics()]
    ['frechet']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_recipes() -> Iterable[Component]:
    """Register recipes: choices for ``recipe=NAME``.

    The target is a YAML file inside a package. It starts with ``# @package _global_`` and only chooses components
    (``defaults: [override /net: unet]``) and overrides plain keys (``train: {steps: 500}``).

    >>> @hookimpl
    ... def diffkit_recipes():
    ...     yield Component("birds", "my_package:recipes/birds.yaml", "bird song, one second at 16 kHz")
    >>> [component.target for component in diffkit_recipes()]
    ['my_package:recipes/birds.yaml']
    """
    raise NotImplementedError


@hookspec(contract=1)
def diffkit_commands() -> Iterable[Component]:
    """Register commands: choices for the first word, as in ``diffkit NAME …``.

    The target is a :class:`~diffkit.contracts.command.Command`: a function that is given the words after its name
    and returns the exit status. It is called when its name is the first word and nothing was composed yet.

    >>> @hookimpl
    ... def diffkit_commands():
    ...     yield Component("hello", "my_package.hello:hello", "say hello")
    >>> [component.summary for component in diffkit_commands()]
    ['say hello']
    """
    raise NotImplementedError
