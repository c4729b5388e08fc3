"""What a diffkit network learns: predictions, loss weightings, time distributions and noise."""

from typing import TYPE_CHECKING

from diffkit.lazy import lazily

if TYPE_CHECKING:
    from diffkit_objectives.adaptive import AdaptiveTimes
    from diffkit_objectives.correlated import OffsetNoise, PyramidNoise, SpectrumNoise
    from diffkit_objectives.frames import PerFrameTimes
    from diffkit_objectives.learned import LearnedWeighting
    from diffkit_objectives.noises import NormalNoise, RademacherNoise, UniformNoise
    from diffkit_objectives.predictions import (
        EDMPrediction,
        EpsPrediction,
        FlowPrediction,
        ScorePrediction,
        VPrediction,
        X0Prediction,
    )
    from diffkit_objectives.times import (
        LaplaceTimes,
        LogitNormalTimes,
        LogNormalTimes,
        ModeTimes,
        StratifiedTimes,
        UniformLamTimes,
        UniformTimes,
    )
    from diffkit_objectives.variance import LearnedVariance
    from diffkit_objectives.weightings import (
        EDMWeighting,
        ELBOWeighting,
        FlowWeighting,
        MinSNRWeighting,
        P2Weighting,
        SigmoidWeighting,
        SNRWeighting,
        SoftMinSNRWeighting,
        TruncatedSNRWeighting,
        UniformWeighting,
    )

__getattr__, __dir__ = lazily(
    __name__,
    {
        "AdaptiveTimes": "diffkit_objectives.adaptive",
        "EDMPrediction": "diffkit_objectives.predictions",
        "EDMWeighting": "diffkit_objectives.weightings",
        "ELBOWeighting": "diffkit_objectives.weightings",
        "EpsPrediction": "diffkit_objectives.predictions",
        "FlowPrediction": "diffkit_objectives.predictions",
        "FlowWeighting": "diffkit_objectives.weightings",
        "LaplaceTimes": "diffkit_objectives.times",
        "LearnedVariance": "diffkit_objectives.variance",
        "LearnedWeighting": "diffkit_objectives.learned",
        "LogNormalTimes": "diffkit_objectives.times",
        "LogitNormalTimes": "diffkit_objectives.times",
        "MinSNRWeighting": "diffkit_objectives.weightings",
        "ModeTimes": "diffkit_objectives.times",
        "NormalNoise": "diffkit_objectives.noises",
        "OffsetNoise": "diffkit_objectives.correlated",
        "P2Weighting": "diffkit_objectives.weightings",
        "PerFrameTimes": "diffkit_objectives.frames",
        "PyramidNoise": "diffkit_objectives.correlated",
        "RademacherNoise": "diffkit_objectives.noises",
        "SNRWeighting": "diffkit_objectives.weightings",
        "ScorePrediction": "diffkit_objectives.predictions",
        "SigmoidWeighting": "diffkit_objectives.weightings",
        "SoftMinSNRWeighting": "diffkit_objectives.weightings",
        "SpectrumNoise": "diffkit_objectives.correlated",
        "StratifiedTimes": "diffkit_objectives.times",
        "TruncatedSNRWeighting": "diffkit_objectives.weightings",
        "UniformLamTimes": "diffkit_objectives.times",
        "UniformNoise": "diffkit_objectives.noises",
        "UniformTimes": "diffkit_objectives.times",
        "UniformWeighting": "diffkit_objectives.weightings",
        "VPrediction": "diffkit_objectives.predictions",
        "X0Prediction": "diffkit_objectives.predictions",
    },
)
__all__ = [
    "AdaptiveTimes",
    "EDMPrediction",
    "EDMWeighting",
    "ELBOWeighting",
    "EpsPrediction",
    "FlowPrediction",
    "FlowWeighting",
    "LaplaceTimes",
    "LearnedVariance",
    "LearnedWeighting",
    "LogNormalTimes",
    "LogitNormalTimes",
    "MinSNRWeighting",
    "ModeTimes",
    "NormalNoise",
    "OffsetNoise",
    "P2Weighting",
    "PerFrameTimes",
    "PyramidNoise",
    "RademacherNoise",
    "SNRWeighting",
    "ScorePrediction",
    "SigmoidWeighting",
    "SoftMinSNRWeighting",
    "SpectrumNoise",
    "StratifiedTimes",
    "TruncatedSNRWeighting",
    "UniformLamTimes",
    "UniformNoise",
    "UniformTimes",
    "UniformWeighting",
    "VPrediction",
    "X0Prediction",
]
