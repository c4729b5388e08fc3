"""What this package registers with diffkit."""

from collections.abc import Iterable

from diffkit import Component, hookimpl


@hookimpl
def diffkit_predictions() -> Iterable[Component]:
    """Register the predictions."""
    yield Component("eps", "diffkit_objectives.predictions:EpsPrediction", "the network predicts the noise ε")
    yield Component("x0", "diffkit_objectives.predictions:X0Prediction", "the network predicts the clean data")
    yield Component("v", "diffkit_objectives.predictions:VPrediction", "v = αε - σx0, scaled to keep its size")
    yield Component("flow", "diffkit_objectives.predictions:FlowPrediction", "the network predicts the flow ε - x0")
    yield Component("edm", "diffkit_objectives.predictions:EDMPrediction", "unit variance in and out")


@hookimpl
def diffkit_weightings() -> Iterable[Component]:
    """Register the loss weightings."""
    yield Component("uniform", "diffkit_objectives.weightings:UniformWeighting", "the error of x0, alike at all levels")
    yield Component("snr", "diffkit_objectives.weightings:SNRWeighting", "the error of ε, alike at all levels (DDPM)")
    yield Component("min_snr", "diffkit_objectives.weightings:MinSNRWeighting", "SNR, cut off at gamma")
    yield Component("edm", "diffkit_objectives.weightings:EDMWeighting", "EDM: unit weight on its network's output")
    yield Component("flow", "diffkit_objectives.weightings:FlowWeighting", "the error of the flow ε - x0")
    yield Component("sigmoid", "diffkit_objectives.weightings:SigmoidWeighting", "SNR, levelling off at exp(bias)")


@hookimpl
def diffkit_times() -> Iterable[Component]:
    """Register the time distributions."""
    yield Component("uniform", "diffkit_objectives.times:UniformTimes", "independent uniform times")
    yield Component("stratified", "diffkit_objectives.times:StratifiedTimes", "uniform times, evenly spread in a batch")
    yield Component("logit_normal", "diffkit_objectives.times:LogitNormalTimes", "middle times more often")
    yield Component("lognormal", "diffkit_objectives.times:LogNormalTimes", "EDM: log(σ/α) is normal")


@hookimpl
def diffkit_noises() -> Iterable[Component]:
    """Register the noise models."""
    yield Component("normal", "diffkit_objectives.noises:NormalNoise", "independent standard normal noise")
