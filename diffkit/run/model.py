"""A model: everything a config chooses for going from noise to data, built; no data set is needed for it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, SupportsIndex, cast

import torch
from torch import Tensor, nn

from diffkit.catalog import build
from diffkit.contracts.data import Encoder, Modality
from diffkit.contracts.network import DataSpec
from diffkit.contracts.sampling import Denoise, Grid, Guidance, Sampler
from diffkit.contracts.training import Adaptation
from diffkit.denoiser import Denoiser, outputs_of
from diffkit.errors import DiffkitError, did_you_mean, listing
from diffkit.parallel import hollow, hollowed
from diffkit.streams import Streams
from diffkit.training import autocast

Labels = int | str | Sequence[int | str] | Tensor | None


class Model:
    """A denoiser with the sampler, grid, guidance, encoder and modality of its run.

    Args:
        config: a checked config.
        spec: the :class:`DataSpec` of the data.
        latent: that of what the denoiser models: the same, or the encoder's, with its measured ``std``.
        empty: build the network without values, if it can be, for a rank that is handed them by the first.

    Attributes:
        path: the folder of the run that the model was loaded from.
        step: how long its weights were trained.
        weights: what they are known by, where they were loaded: the digest of their checkpoint.
        adaptation: what changed the network once it was built.
    """

    def __init__(self, config: Any, spec: DataSpec, latent: DataSpec, *, empty: bool = False) -> None:
        self.config, self.spec, self.latent = config, spec, latent
        self.path: Path | None = None
        self.step = 0
        self.weights = ""
        self.device = device_of(config.device)
        prediction = build("prediction", config.prediction, spec=latent)
        modelled = replace(latent, outputs=outputs_of(prediction))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            self.adaptation: Adaptation | None = self._optional("adapt", latent)
            net = hollowed(lambda: self._net(modelled)) if empty else self._net(modelled)
        optional = {
            kind: build(kind, config.get(kind), spec=latent)
            for kind in ("weighting", "times", "noise")
            if config.get(kind) is not None
        }
        schedule = build("schedule", config.schedule, spec=latent)
        self.denoiser = Denoiser(net, schedule, prediction, spec=modelled, **optional)
        for part in self.denoiser.children():
            if part is not net or not hollow(net):
                part.to(self.device)
        self.sampler: Sampler = build("sampler", config.sampler, spec=latent)
        self.grid: Grid | None = self._optional("grid", latent)
        self.guidance: Guidance | None = self._optional("guidance", latent)
        self.encoder: Encoder | None = self._optional("encoder", spec)
        self.modality: Modality = build("modality", config.modality, spec=spec)

    def _net(self, spec: DataSpec) -> nn.Module:
        net: Any = build("net", self.config.net, spec=spec)
        if self.adaptation is not None:
            self.adaptation.change(net)
        net.spec = spec
        return cast(nn.Module, net)

    def _optional(self, kind: str, spec: DataSpec) -> Any:
        return build(kind, self.config[kind], spec=spec) if self.config.get(kind) is not None else None

    def sample(
        self,
        n: int = 1,
        *,
        label: Labels = None,
        seed: int | None = None,
        steps: int | None = None,
        sampler: Sampler | str | None = None,
        grid: Grid | str | None = None,
        guidance: Guidance | str | None = None,
        batch_size: int | None = None,
        cond: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return ``n`` samples ``(n, channels, *shape)``: float32 data on the host.

        Args:
            n: how many.
            label: a class by name or index, one for each sample, or none for all classes in turn.
            seed: of the samples; sample i is the same whatever ``n`` and ``batch_size`` are. The run's own where none.
            steps: sampling steps, in place of the sampler's.
            sampler: a sampler or the name of one, in place of the run's.
            grid: likewise.
            guidance: likewise.
            batch_size: how many at once; the run's ``sample.batch_size`` where none.
            cond: other conditions of the model by name, each ``(n, ...)``; those not given are missing.

        Raises:
            DiffkitError: for a label the run does not have, or a name that is not installed.
        """
        if not isinstance(n, SupportsIndex) or n < 1:
            raise DiffkitError(f"n={n} is not a number of samples; give 1 or more")
        several = len(_listed(label))
        if several > n:
            raise DiffkitError(f"{several} labels were given for n={n}; ask for n={several}, or give fewer")
        labels = self.labels(n, label)
        size = self.config.sample.batch_size if batch_size is None else batch_size
        if size < 1:
            raise DiffkitError(f"batch_size={size} is not a number of samples; give 1 or more")
        given = dict(cond or {})
        for name, value in given.items():
            if name == "label" or name not in self.latent.told or len(value) != n:
                raise DiffkitError(
                    f"condition '{name}' of {len(value)} is not one of this model's for {n} samples; it is told: "
                    f"{listing(self.latent.told) or 'nothing'}, and labels by label="
                )
        chunks = []
        for start in range(0, n, size):
            stop = min(start + size, n)
            some = {name: value[start:stop] for name, value in given.items()}
            chunks.append(
                self.draw(range(start, stop), labels[start:stop], seed, steps, sampler, grid, guidance, cond=some)
            )
        return torch.cat(chunks)

    @torch.no_grad()
    def draw(
        self,
        indices: Sequence[int],
        labels: Sequence[int],
        seed: int | None = None,
        steps: int | None = None,
        sampler: Sampler | str | None = None,
        grid: Grid | str | None = None,
        guidance: Guidance | str | None = None,
        *,
        cond: Mapping[str, Tensor] | None = None,
    ) -> Tensor:
        """Return one batch: the samples at ``indices`` of the sampling, with ``labels``; see :meth:`sample`."""
        solver = self._solver(sampler, steps)
        chosen_grid = build("grid", grid, spec=self.latent) if isinstance(grid, str) else grid or self.grid
        chosen = (
            build("guidance", guidance, spec=self.latent) if isinstance(guidance, str) else guidance or self.guidance
        )
        self.denoiser.eval()
        guided: Denoise = chosen(self.denoiser) if chosen else self.denoiser
        streams = Streams(self.config.seed if seed is None else seed, indices, self.denoiser.noise)
        noise = streams.draw((self.latent.channels, *self.latent.shape), 0).to(self.device)
        with autocast(self.config.precision, self.device):
            z = solver(guided, noise, grid=chosen_grid, streams=streams, **self.told(labels, cond or {}))
        x = self.encoder.decode(z) if self.encoder is not None else z
        return x.float().cpu()

    def told(self, labels: Sequence[int], cond: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return everything the network is told of samples with ``labels``: what ``cond`` lacks is missing."""
        told = {"label": torch.tensor(labels)} if self.latent.labels else {}
        for one in self.latent.conditions:
            given = cond.get(one.name)
            told[one.name] = one.null(self.latent.shape, len(labels)) if given is None else given
        return {name: value.to(self.device, non_blocking=True) for name, value in told.items()}

    def _solver(self, sampler: Sampler | str | None, steps: int | None) -> Sampler:
        if isinstance(sampler, str):
            return build("sampler", sampler, spec=self.latent, **({} if steps is None else {"steps": steps}))
        if sampler is not None and steps is not None:
            raise DiffkitError(f"steps={steps} is given beside a sampler that has its own; give them to the sampler")
        if sampler is not None or steps is None:
            return sampler or self.sampler
        return build("sampler", self.config.sampler, spec=self.latent, steps=steps)

    def labels(self, n: int, label: Labels = None) -> list[int]:
        """Return the label of each of ``n`` samples, from a name, an index, one for each, or none for all in turn."""
        names = self.latent.labels
        if label is None:
            return [i % len(names) for i in range(n)] if names else [0] * n
        given = _listed(label)
        if not given:
            raise DiffkitError("the list of labels is empty; give at least one, or leave sample.label out")
        found = [self._label(one) for one in given]
        return [found[i % len(found)] for i in range(n)]

    def _label(self, label: Any) -> int:
        names = self.latent.labels
        if not names:
            raise DiffkitError(f"label {label} was asked for, but the run's data has no labels; leave sample.label out")
        if str(label) in names:
            return names.index(str(label))
        if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(names):
            return label
        shown = listing(names) if len(names) <= 40 else f"{names[0]} … {names[-1]}"
        raise DiffkitError(
            f"label {label} is not one of the {len(names)} of this run{did_you_mean(str(label), names)}; "
            f"its labels: {shown} (or an index from 0 to {len(names) - 1})"
        )


def _listed(label: Labels) -> list[Any]:
    """Return one label, or several, as a list."""
    if isinstance(label, Tensor):
        label = label.tolist()
    return list(label) if isinstance(label, Sequence) and not isinstance(label, str) else [label]


def device_of(name: str) -> torch.device:
    """Return the device that ``device=name`` means; ``auto`` is a GPU where there is one."""
    if name == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
        return torch.device(accelerator)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        why = "it holds no values" if device.type == "meta" else ""
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        why = str(error).splitlines()[0][:100]
    if why:
        raise DiffkitError(f"device={name} is not on this machine ({why}); give auto, or cpu")
    return device
