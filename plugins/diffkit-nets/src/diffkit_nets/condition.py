"""What every network here is told besides the data: the noise level λ, the class, and whatever else is known."""

from math import log

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool1d, silu

from diffkit import ConditionSpec, DataSpec, DiffkitError
from diffkit.errors import listing

BOUND = 20.0
"""λ beyond this is told as this: no network can tell such levels apart, and a schedule may well reach infinity."""
Known = dict[str, Tensor | None]


class Condition(nn.Module):
    """Embeds λ, the label and the spec's other conditions: vectors, tokens and channels.

    λ = log(α/σ) enters as cos(ωλ) and sin(ωλ) for angular frequencies ω from 1/16 to 2, so that a change of λ by 0.1
    is a small change and the range of ±10 does not wrap around. Labels and other classes enter by a table with one row
    a class and a last one for the null class, which stands for "any" and is what a missing one means. Values enter with
    a flag each that says whether they are known. All of these are added up to one vector ``(batch, width)``, which
    has passed its last nonlinearity.

    Sequences become tokens to attend to, ``(batch, length, width)``, with a learned one where a token is missing; for a
    network that does not attend they enter the vector as values. Maps become channels beside the data's own, with
    one more that says where they are known.

    Args:
        spec: what the network models.
        width: the length of the vector and of tokens.
        frequencies: how many ω.
        attends: whether the network attends to sequences.

    Attributes:
        channels: how many channels the maps take.
        tokens: how many tokens the sequences take.
    """

    omega: Tensor

    def __init__(
        self,
        spec: DataSpec,
        width: int,
        frequencies: int = 32,
        *,
        attends: bool = False,
    ) -> None:
        super().__init__()
        self.spec, self.attends = spec, attends
        omega = torch.linspace(log(1 / 16), log(2), frequencies).exp()
        self.register_buffer("omega", omega, persistent=False)
        self.level = nn.Linear(2 * frequencies, width)
        self.classes = nn.Embedding(len(spec.labels) + 1, width) if spec.labels else None
        self.others = nn.ModuleDict({_key(one): self._embedding(one, width) for one in spec.conditions})
        self.joint = nn.Linear(width, width)
        self.channels = sum(one.size + 1 for one in spec.conditions if one.kind == "map")
        self.tokens = sum(one.length for one in spec.conditions if one.kind == "sequence") if attends else 0

    def _embedding(self, one: ConditionSpec, width: int) -> nn.Module:
        if one.kind == "classes":
            return nn.Embedding(one.size + 1, width)
        if one.kind == "map":
            return nn.Identity()
        if one.kind == "sequence" and self.attends:
            return Tokens(one, width)
        return nn.Linear(2 * one.size * one.length, width, bias=False)

    def forward(self, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None) -> Tensor:
        """Return the vectors ``(batch, width)`` of levels ``lam`` ``(batch,)``, labels and other conditions.

        Levels ``(batch, frames)`` make a vector for each frame, ``(batch, frames, width)``; see :func:`by_frame`.
        Tokens and maps are left to :meth:`around`.
        """
        return self._vector(lam, self._known({"label": label, **cond}))

    def around(
        self, x: Tensor, lam: Tensor, label: Tensor | None = None, **cond: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return ``x`` ``(batch, channels, *shape)`` with the maps' channels, the vectors, and all tokens, if any.

        Tokens are ``(batch, length, width)``, those of all sequences in turn.
        """
        known = self._known({"label": label, **cond})
        maps, tokens = [x], []
        for one, embedding in self._others():
            value = known.get(one.name)
            if value is None:
                value = one.null(self.spec.shape, len(x)).to(x)
            if one.kind == "map":
                there = value.isfinite().all(1, keepdim=True)
                maps += [torch.where(there, value, 0).to(x.dtype), there.to(x.dtype)]
            elif isinstance(embedding, Tokens):
                tokens.append(embedding(value))
        x = torch.cat(maps, 1) if len(maps) > 1 else x
        return x, self._vector(lam, known), torch.cat(tokens, 1) if tokens else None

    def _others(self) -> list[tuple[ConditionSpec, nn.Module]]:
        return list(zip(self.spec.conditions, self.others.values(), strict=True))

    def _vector(self, lam: Tensor, known: Known) -> Tensor:
        phase = lam.clamp(-BOUND, BOUND)[..., None] * self.omega
        h = self.level(torch.cat((phase.cos(), phase.sin()), -1))
        if lam.ndim > 1:
            h = h.transpose(0, 1)  # what else is known is so of all frames
        if self.classes is not None:
            h = h + self.classes(_class(known.get("label"), len(self.spec.labels), lam))
        for one, embedding in self._others():
            value = known.get(one.name)
            if isinstance(embedding, nn.Embedding):
                h = h + embedding(_class(value, one.size, lam))
            elif isinstance(embedding, nn.Linear) and value is not None:
                there = value.isfinite()
                flagged = torch.cat((torch.where(there, value, 0), there), -1)
                h = h + embedding(flagged.flatten(1).to(h.dtype))
        h = silu(self.joint(silu(h)))
        return h if lam.ndim == 1 else h.transpose(0, 1)

    def _known(self, cond: Known) -> Known:
        """Return what is told."""
        told = self.spec.told
        stray = cond.keys() - {"label", *told}
        if stray:
            raise DiffkitError(f"the network is told {listing(told) or 'nothing'}, not {listing(stray)}; leave it out")
        return {name: value for name, value in cond.items() if value is not None and name in told}


def by_frame(vector: Tensor, frames: int) -> Tensor:
    """Return the vectors of ``frames`` parts of a clip, ``(batch, frames, width)``: means, where it had more frames.

    Vectors ``(batch, width)`` of whole items become ``(batch, 1, width)``.
    """
    if vector.ndim == 2:
        return vector[:, None]
    return vector if vector.shape[1] == frames else adaptive_avg_pool1d(vector.mT, frames).mT


class Tokens(nn.Module):
    """Embeds a sequence: a linear map of each token, or a learned one where it is missing, and a learned place.

    Args:
        one: the sequence.
        width: of a token.
    """

    def __init__(self, one: ConditionSpec, width: int) -> None:
        super().__init__()
        self.enter = nn.Linear(one.size, width)
        self.missing = nn.Parameter(0.02 * torch.randn(width))
        self.places = nn.Parameter(0.02 * torch.randn(one.length, width))

    def forward(self, sequence: Tensor) -> Tensor:
        """Return ``(batch, length, width)`` of ``sequence`` ``(batch, length, size)``."""
        there = sequence.isfinite().all(-1, keepdim=True)
        h = self.enter(torch.where(there, sequence, 0))
        return torch.where(there, h, self.missing.to(h.dtype)) + self.places


def _key(one: ConditionSpec) -> str:
    """Return a name that is none of a dictionary's own, as "values" is."""
    return f"{one.kind}_{one.name}"


def _class(value: Tensor | None, null: int, lam: Tensor) -> Tensor:
    return torch.full((len(lam),), null, device=lam.device) if value is None else value
