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
    yield Component("score", "diffkit_objectives.predictions:ScorePrediction", "σ times the score of x_t")
    yield Component("learned_variance", "diffkit_objectives.variance:LearnedVariance", "another, and its uncertainty")


@hookimpl
def diffkit_weightings() -> Iterable[Component]:
    """Register the loss weightings."""
    yield Component("uniform", "diffkit_objectives.weightings:UniformWeighting", "the error of x0, alike at all levels")
    yield Component("snr", "diffkit_objectives.weightings:SNRWeighting", "the error of ε, alike at all levels (DDPM)")
    yield Component("truncated_snr", "diffkit_objectives.weightings:TruncatedSNRWeighting", "SNR, but at least 1")
    yield Component("min_snr", "diffkit_objectives.weightings:MinSNRWeighting", "SNR, cut off at gamma")
    yield Component("soft_min_snr", "diffkit_objectives.weightings:SoftMinSNRWeighting", "SNR, levelling off at gamma")
    yield Component("p2", "diffkit_objectives.weightings:P2Weighting", "SNR, less of it where there is little noise")
    yield Component("elbo", "diffkit_objectives.weightings:ELBOWeighting", "the evidence lower bound, for likelihood")
    yield Component("edm", "diffkit_objectives.weightings:EDMWeighting", "EDM: unit weight on its network's output")
    yield Component("flow", "diffkit_objectives.weightings:FlowWeighting", "the error of the flow ε - x0")
    yield Component("sigmoid", "diffkit_objectives.weightings:SigmoidWeighting", "SNR, levelling off at exp(bias)")
    yield Component("learned", "diffkit_objectives.learned:LearnedWeighting", "each level by its own error, learned")


@hookimpl
def diffkit_times() -> Iterable[Component]:
    """Register the time distributions."""
    yield Component("uniform", "diffkit_objectives.times:UniformTimes", "independent uniform times")
    yield Component("stratified", "diffkit_objectives.times:StratifiedTimes", "times evenly spread in a batch")
    yield Component("uniform_lam", "diffkit_objectives.times:UniformLamTimes", "uniform in λ")
    yield Component("mode", "diffkit_objectives.times:ModeTimes", "middle times more often, or the ends")
    yield Component("laplace", "diffkit_objectives.times:LaplaceTimes", "one level of λ most often")
    yield Component("adaptive", "diffkit_objectives.adaptive:AdaptiveTimes", "more often where the loss is large")
    yield Component("logit_normal", "diffkit_objectives.times:LogitNormalTimes", "middle times more often")
    yield Component("lognormal", "diffkit_objectives.times:LogNormalTimes", "EDM: log(σ/α) is normal")
    yield Component("per_frame", "diffkit_objectives.frames:PerFrameTimes", "another, for each frame of a clip")


@hookimpl
def diffkit_noises() -> Iterable[Component]:
    """Register the noise models."""
    yield Component("normal", "diffkit_objectives.noises:NormalNoise", "independent standard normal noise")
    yield Component("uniform", "diffkit_objectives.noises:UniformNoise", "independent uniform noise")
    yield Component("rademacher", "diffkit_objectives.noises:RademacherNoise", "independent signs")
    yield Component("offset", "diffkit_objectives.correlated:OffsetNoise", "normal noise with a random mean by channel")
    yield Component("pyramid", "diffkit_objectives.correlated:PyramidNoise", "normal noise on blocks of every size")
    yield Component("spectrum", "diffkit_objectives.correlated:SpectrumNoise", "pink or blue normal noise")
