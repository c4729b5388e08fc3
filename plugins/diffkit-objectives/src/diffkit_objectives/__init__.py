"""What a diffkit network learns: predictions, loss weightings, time distributions and noise."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_objectives.noises import NormalNoise
    from diffkit_objectives.predictions import (
        EDMPrediction,
        EpsPrediction,
        FlowPrediction,
        VPrediction,
        X0Prediction,
    )
    from diffkit_objectives.times import LogitNormalTimes, LogNormalTimes, StratifiedTimes, UniformTimes
    from diffkit_objectives.weightings import (
        EDMWeighting,
        FlowWeighting,
        MinSNRWeighting,
        SigmoidWeighting,
        SNRWeighting,
        UniformWeighting,
    )

__getattr__, __dir__ = lazily(
    __name__,
    {
        "EDMPrediction": "diffkit_objectives.predictions",
        "EDMWeighting": "diffkit_objectives.weightings",
        "EpsPrediction": "diffkit_objectives.predictions",
        "FlowPrediction": "diffkit_objectives.predictions",
        "FlowWeighting": "diffkit_objectives.weightings",
        "LogNormalTimes": "diffkit_objectives.times",
        "LogitNormalTimes": "diffkit_objectives.times",
        "MinSNRWeighting": "diffkit_objectives.weightings",
        "NormalNoise": "diffkit_objectives.noises",
        "SNRWeighting": "diffkit_objectives.weightings",
        "SigmoidWeighting": "diffkit_objectives.weightings",
        "StratifiedTimes": "diffkit_objectives.times",
        "UniformTimes": "diffkit_objectives.times",
        "UniformWeighting": "diffkit_objectives.weightings",
        "VPrediction": "diffkit_objectives.predictions",
        "X0Prediction": "diffkit_objectives.predictions",
    },
)
__all__ = [
    "EDMPrediction",
    "EDMWeighting",
    "EpsPrediction",
    "FlowPrediction",
    "FlowWeighting",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MinSNRWeighting",
    "NormalNoise",
    "SNRWeighting",
    "SigmoidWeighting",
    "StratifiedTimes",
    "UniformTimes",
    "UniformWeighting",
    "VPrediction",
    "X0Prediction",
]
