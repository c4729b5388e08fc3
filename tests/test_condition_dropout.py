"""While training, the network is told nothing of some items, so that it learns what guidance compares with."""

import pytest
import torch
from torch import nn

from diffkit import ConditionSpec, DataSpec, Denoiser, DiffkitError, build
from diffkit.config.compose import compose
from diffkit.data.stream import BatchStream
from diffkit.training import Trainer

SPEC = DataSpec(1, (2,), labels=("a", "b"), conditions=(ConditionSpec("height", "values", 3),))
ITEMS = 2000


class Told:
    """Items that know their label and height."""

    modality, spec = "audio", SPEC

    def __len__(self):
        return ITEMS

    def __getitem__(self, index):
        return torch.zeros(1, 2), {"label": index % 2, "height": torch.ones(3)}


class Heard(nn.Module):
    """A network that keeps what it is told."""

    def __init__(self):
        super().__init__()
        self.gain, self.heard = nn.Parameter(torch.zeros(())), []

    def forward(self, x, lam, **cond):
        self.heard.append(cond)
        return self.gain * x


def heard(share, **options):
    """Return what a network was told in each of two steps."""
    net = Heard()
    denoiser = Denoiser(net, "edm", "edm", spec=SPEC)
    stream = BatchStream(Told(), ITEMS, 0)
    list(Trainer(denoiser, stream, build("optim", "adamw"), steps=2, condition_dropout=share, **options).run())
    return net.heard


def test_everything_known_of_an_item_is_dropped_at_once_at_the_rate_asked_for_and_anew_each_step():
    first, second = heard(0.25)
    dropped = [cond["label"] == 2 for cond in (first, second)]
    for cond, missing in zip((first, second), dropped, strict=True):
        assert torch.equal(missing, cond["height"].isnan().all(1))
        assert torch.equal(missing, cond["height"].isnan().any(1))
        assert abs(missing.float().mean() - 0.25) < 5 * (0.25 * 0.75 / ITEMS) ** 0.5
    assert not torch.equal(*dropped)


def test_what_is_dropped_does_not_depend_on_the_micro_batch():
    whole, parts = heard(0.25), heard(0.25, micro_batch=1500)
    assert torch.equal(whole[0]["label"], torch.cat([cond["label"] for cond in parts[:2]]))


def test_nothing_is_dropped_where_nothing_is_asked_for():
    assert all((cond["label"] < 2).all() and cond["height"].isfinite().all() for cond in heard(0.0))


@pytest.mark.parametrize("share", [-0.1, 1.5])
def test_what_is_no_share_is_refused(share):
    with pytest.raises(DiffkitError, match=f"train.condition_dropout={share}"):
        compose(f"train.condition_dropout={share}")
