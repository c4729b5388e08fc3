"""The conformance check of networks passes a good one and says what is wrong with each kind of bad one."""

import pytest
import torch
from torch import nn

from diffkit import DiffkitError
from diffkit.testing import check_network


class Good(nn.Module):
    def __init__(self, spec, width=16):
        super().__init__()
        self.spec = spec
        self.inner = nn.Linear(spec.size + 1, width)
        self.classes = nn.Embedding(len(spec.labels) + 1, width) if spec.labels else None
        sizes = {one.name: one.null(spec.shape, 1).numel() for one in spec.conditions}
        self.others = nn.ModuleDict({name: nn.Linear(2 * size, width) for name, size in sizes.items()})
        self.outer = nn.Linear(width, spec.size)

    def forward(self, x, lam, label=None, **cond):
        h = self.inner(torch.cat((x.flatten(1), self.level(lam)[:, None]), 1))
        if self.classes is not None:
            h = h + self.classes(self.told(x, label))
        for one in self.spec.conditions:
            value = cond.get(one.name, one.null(self.spec.shape, len(x)))
            h = h + self.others[one.name](self.known(value).float().flatten(1))
        return self.outer(h.tanh()).reshape(x.shape)

    def level(self, lam):
        return lam / 10

    def known(self, value):
        return torch.stack((value.nan_to_num(), value.isfinite().to(value)), 1)

    def told(self, x, label):
        return torch.full((len(x),), len(self.spec.labels)) if label is None else label


class DeafToNoise(Good):
    def level(self, lam):
        return 0 * lam


class NoNull(Good):
    def told(self, x, label):
        return torch.zeros(len(x), dtype=torch.int64) if label is None else label


class NullIsAClass(Good):
    def told(self, x, label):
        return super().told(x, label) % len(self.spec.labels)


class Infinite(Good):
    def forward(self, x, lam, label=None, **cond):
        return super().forward(x, lam, label, **cond) * lam.square().exp().mean()


class NoMissing(Good):
    def known(self, value):
        return torch.stack((value, value), 1)


class DeafToWhat(Good):
    def known(self, value):
        there = value.isfinite().to(value) if value.is_floating_point() else value
        return torch.stack((there, there), 1)


class Mixing(Good):
    def known(self, value):
        known = super().known(value)
        return known - known.float().mean()


class BatchNormalised(Good):
    def forward(self, x, lam, label=None, **cond):
        return super().forward(x - x.mean(0), lam, label, **cond)


class Random(Good):
    def forward(self, x, lam, label=None, **cond):
        return nn.functional.dropout(super().forward(x, lam, label, **cond))


class Idle(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.idle = nn.Parameter(torch.zeros(1))


class Scalar(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.gain = nn.Parameter(torch.tensor(1.0))

    def level(self, lam):
        return self.gain * lam / 10


class Shrinking(Good):
    def forward(self, x, lam, label=None, **cond):
        if self.training:
            self.inner.weight.data.mul_(0.9)
        return super().forward(x, lam, label, **cond)


class Meddling(Good):
    def forward(self, x, lam, label=None, **cond):
        return super().forward(x.add_(1), lam, label, **cond)


class Flat(Good):
    def forward(self, x, lam, label=None, **cond):
        return super().forward(x, lam, label, **cond).flatten(1)


class Forgetful(Good):
    def __init__(self, spec):
        super().__init__(spec)
        self.offset = torch.randn(1)

    def level(self, lam):
        return lam / 10 + 10 * self.offset


class PicturesOnly(Good):
    def __init__(self, spec):
        if spec.rank != 2:
            raise DiffkitError("only pictures")
        super().__init__(spec)


class Crashing(Good):
    def __init__(self, spec):
        if spec.rank != 2:
            raise KeyError(spec.rank)
        super().__init__(spec)


def test_a_good_network_passes():
    check_network(Good)
    check_network(Good, width=8)
    check_network(PicturesOnly, ranks=(2,))


@pytest.mark.parametrize(
    ("network", "said"),
    [
        (DeafToNoise, "does not depend on λ"),
        (NoNull, "without a label"),
        (NullIsAClass, "for the null label, 3"),
        (Infinite, "NaN or infinity at λ=-20"),
        (NoMissing, "NaN or infinity where 'pose' is missing"),
        (DeafToWhat, "tells only whether 'pose' is missing"),
        (Mixing, "alone than in a batch|mixes items"),
        (BatchNormalised, "alone than in a batch"),
        (Random, "the second time"),
        (Idle, "parameter idle gets no gradient"),
        (Scalar, "parameter gain has no axis"),
        (Shrinking, "changes parameter inner.weight as it is called"),
        (Meddling, "changes its input"),
        (Flat, "the output has the input's shape"),
        (Forgetful, "state dict"),
    ],
)
def test_a_bad_network_is_told_what_is_wrong(network, said):
    with pytest.raises(AssertionError, match=said):
        check_network(network)


def test_a_rank_that_a_network_is_not_for_has_to_be_refused_in_words():
    with pytest.raises(AssertionError, match="raises KeyError for data of rank 1"):
        check_network(Crashing, ranks=(2,))
    with pytest.raises(AssertionError, match="accepts data of rank 1"):
        check_network(Good, ranks=(2,))
