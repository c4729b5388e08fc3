"""The run that a fine-tuning starts from."""

import inspect
from typing import Any

import torch
from torch import nn

import diffkit
from diffkit import Denoiser, DiffkitError, Model
from diffkit.contracts.network import Inflatable
from diffkit_finetune.fitting import Fitted, by, fit, label_tables


@torch.no_grad()
def take_over(run: str, denoiser: Denoiser) -> tuple[list[str], list[str]]:
    """Give the network of ``denoiser`` the weights of a run's, as far as they fit its data.

    Returns:
        What to say of it, a line each, and the names of what the run's network could not give.

    Raises:
        DiffkitError: where the run's network is another one, or was trained to predict something else.
    """
    source, net = diffkit.load(run, "device=cpu"), denoiser.net
    spec: Any = denoiser.spec
    if _meaning(source.denoiser) != _meaning(denoiser):
        chosen = source.config.prediction
        words = f"prediction={chosen.name}" + (f" prediction.base={chosen.base}" if chosen.get("base") else "")
        raise DiffkitError(
            f"{run} was trained with {words}, and what its weights say means something else here; give {words}"
        )
    given, state = source.denoiser.net.state_dict(), net.state_dict()
    if source.latent.rank == spec.rank:
        _same_network(run, source, net, spec)
        fitted = fit(given, source.latent, net, spec)
        for name, value in fitted.tensors.items():
            state[name].copy_(value)
    else:
        fitted = _inflated(run, source, net, spec)
    first = f"{len(fitted.tensors)} of {len(state)} tensors from {run}, step {source.step}"
    return [first, *fitted.lines], fitted.fresh


def _meaning(denoiser: Denoiser) -> tuple[type, type]:
    """Return what the outputs of a network are: its prediction, and the one that this wraps, if any."""
    return type(denoiser.prediction), type(getattr(denoiser.prediction, "base", None))


def _same_network(run: str, source: Model, net: nn.Module, spec: Any) -> None:
    """Raise where the run's network, built for this data, is not the one that is here."""
    words = _words(source)
    try:
        with torch.random.fork_rng(devices=[]):
            twin = diffkit.build("net", source.config.net, spec=spec)
    except DiffkitError as error:
        raise DiffkitError(f"the network of {run} ({words}) cannot take this data: {error}") from error
    if type(twin) is not type(net):
        raise DiffkitError(f"the network of {run} is a {type(twin).__name__}, not a {type(net).__name__}; give {words}")
    there, here = ({name: value.shape for name, value in one.state_dict().items()} for one in (twin, net))
    if there == here:
        return
    name = next((name for name in there if name in here and there[name] != here[name]), None)
    if name is not None:
        what = f"has a {name} of {by(there[name])}, and not of {by(here[name])}"
    else:
        what = f"has {len(there)} tensors, and not {len(here)}"
    raise DiffkitError(f"the {type(net).__name__} of {run} {what} as here; give {words}")


def _words(source: Model) -> str:
    """Return what to type for the network of a run: its name, and what of its options is not the default."""
    defaults = inspect.signature(type(source.denoiser.net)).parameters
    chosen = source.config.net
    words = [f"net={chosen.name}"]
    words += [f"net.{key}={chosen[key]}" for key in chosen if key != "name" and chosen[key] != defaults[key].default]
    return " ".join(words)


def _inflated(run: str, source: Model, net: nn.Module, spec: Any) -> Fitted:
    """Let a network for data of more axes, such as clips, take over one for fewer, such as their frames."""
    if not isinstance(net, Inflatable):
        raise DiffkitError(
            f"{run} models data of {source.latent.rank} axes and here it has {spec.rank}, but a {type(net).__name__} "
            f"cannot be made of another; choose a network that can, such as net=unet"
        )
    given, state = source.denoiser.net.state_dict(), net.state_dict()
    tables, lines = label_tables(given, source.latent, net, spec)
    tensors = {name: value for name, value in (given | tables).items() if name in state}
    net.inflate(tensors)
    return Fitted(tensors, [], lines)
