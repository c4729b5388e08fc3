"""The kinds of component there are: one word, one hook and one config group each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kind:
    """One kind of component.

    ``name`` is the word a user types (``net=unet``), ``hook`` the hook that plugins implement, ``home`` the
    first-party distribution that brings the usual choices, and ``required`` says that no run can go without.
    ``group`` is false for kinds that a config does not choose.
    """

    name: str
    hook: str
    home: str
    required: bool = False
    group: bool = True


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind("schedule", "diffkit_schedules", "diffkit-schedules", required=True),
        Kind("net", "diffkit_networks", "diffkit-nets", required=True),
        Kind("prediction", "diffkit_predictions", "diffkit-objectives", required=True),
        Kind("weighting", "diffkit_weightings", "diffkit-objectives"),
        Kind("times", "diffkit_times", "diffkit-objectives"),
        Kind("noise", "diffkit_noises", "diffkit-objectives"),
        Kind("sampler", "diffkit_samplers", "diffkit-samplers", required=True),
        Kind("grid", "diffkit_grids", "diffkit-samplers"),
        Kind("guidance", "diffkit_guidances", "diffkit-samplers"),
        Kind("modality", "diffkit_modalities", "diffkit-image"),
        Kind("data", "diffkit_datasets", "diffkit-image", required=True),
        Kind("encoder", "diffkit_encoders", "diffkit-audio"),
        Kind("augment", "diffkit_augmentations", "diffkit-image"),
        Kind("optim", "diffkit_optimizers", "diffkit-training", required=True),
        Kind("adapt", "diffkit_adaptations", "diffkit-finetune"),
        Kind("tracker", "diffkit_trackers", "diffkit-training"),
        Kind("callback", "diffkit_callbacks", "diffkit-training"),
        Kind("recipe", "diffkit_recipes", "diffkit"),
        Kind("metric", "diffkit_metrics", "diffkit-training", group=False),
        Kind("command", "diffkit_commands", "diffkit", group=False),
    )
}
