"""Weights for other labels and other sizes, and what is frozen."""

import pytest
import torch
from diffkit_finetune import Weights
from diffkit_finetune.fitting import fit, resize
from torch import nn

from diffkit import ConditionSpec, DataSpec, DiffkitError


class Net(nn.Module):
    """What depends on the data in every way: its labels, another class, positions, and its size."""

    def __init__(self, spec, width=3):
        super().__init__()
        self.first = nn.Linear(spec.size, width)
        self.joint = nn.Linear(width, width)
        self.classes = nn.Embedding(len(spec.labels) + 1, width) if spec.labels else None
        self.others = nn.ModuleDict({f"of_{one.name}": nn.Embedding(one.size + 1, width) for one in spec.conditions})
        self.places = nn.ParameterList(torch.randn(side, width) for side in spec.shape)


def spec(labels="", shape=(4, 4), conditions=()):
    return DataSpec(1, shape, tuple(labels), conditions=conditions)


def fitted(old, new):
    torch.manual_seed(0)
    there, here = Net(old), Net(new)
    return there.state_dict(), fit(there.state_dict(), old, here, new)


def test_the_same_data_takes_everything_and_there_is_nothing_to_say():
    given, found = fitted(spec("abc"), spec("abc"))
    assert all(torch.equal(found.tensors[name], value) for name, value in given.items())
    assert (found.fresh, found.lines) == ([], [])


def test_labels_of_known_names_keep_their_rows_and_others_start_around_the_null_label():
    given, found = fitted(spec("abc"), spec("cxay"))
    a, _, c, null = given["classes.weight"]
    x, y = found.tensors["classes.weight"][[1, 3]]
    assert torch.equal(found.tensors["classes.weight"][[0, 2, 4]], torch.stack((c, a, null)))
    spread = (given["classes.weight"][:3] - null).square().mean(0).sqrt()
    assert all(0.01 < ((row - null) / spread).abs().max() < 4 for row in (x, y))
    assert not torch.allclose(x, y, atol=0.05)
    assert found.lines == ["labels: known c, a; new x, y, beside the null label"]


def test_a_new_label_starts_from_the_same_row_whatever_others_there_are():
    (_, one), (_, other) = fitted(spec("abc"), spec("x")), fitted(spec("abc"), spec("yax"))
    assert torch.equal(one.tensors["classes.weight"][0], other.tensors["classes.weight"][2])


def test_rows_follow_names_where_there_are_as_many_labels():
    given, found = fitted(spec("ab"), spec("ba"))
    assert torch.equal(found.tensors["classes.weight"], given["classes.weight"][[1, 0, 2]])


def test_where_there_were_no_labels_the_null_label_changes_nothing_and_the_others_differ():
    _, found = fitted(spec(), spec("ab"))
    a, b, null = found.tensors["classes.weight"]
    assert not null.any()
    assert not torch.allclose(a, b, atol=0.05)
    assert (found.fresh, found.lines) == ([], ["labels: new a, b, at random"])


def test_labels_that_are_gone_are_said_to_be_left_out():
    _, found = fitted(spec("ab"), spec())
    assert found.lines == ["is left out: classes.weight"]


def test_another_class_of_as_many_is_not_taken_for_the_labels():
    kind = (ConditionSpec("kind", "classes", 2),)
    given, found = fitted(spec("ab", conditions=kind), spec("bx", conditions=kind))
    assert torch.equal(found.tensors["others.of_kind.weight"], given["others.of_kind.weight"])


def test_what_does_not_fit_or_is_new_is_named_with_its_shapes():
    _, found = fitted(spec("ab", (4, 4)), spec("ab", (4, 8), (ConditionSpec("kind", "classes", 2),)))
    assert found.fresh == ["first.weight", "others.of_kind.weight"]
    assert found.lines == [
        "resized from 4 x 4 to 4 x 8: places.1",
        "does not fit, so it starts afresh: first.weight (3 x 16 there, 3 x 32 here)",
        "is new here, so it starts afresh: others.of_kind.weight",
    ]


SIZES = pytest.mark.parametrize(
    ("old", "new"), [((6,), (9,)), ((4, 6), (8, 9)), ((2, 4, 4), (3, 8, 2))], ids=["1-D", "2-D", "3-D"]
)


@SIZES
def test_positions_of_every_rank_keep_what_is_constant(old, new):
    table = torch.ones(*old, 2)
    assert torch.equal(resize(table, (*new, 2), old, new), torch.ones(*new, 2))


@SIZES
def test_a_grid_of_positions_and_a_flattened_one_are_stretched_alike(old, new):
    table = torch.randn(1, *old, 2)
    whole = resize(table, (1, *new, 2), old, new)
    flat = resize(table.flatten(1, -2), (1, whole[..., 0].numel(), 2), old, new)
    assert torch.allclose(flat, whole.flatten(1, -2), atol=1e-6)


def test_what_is_linear_in_the_place_stays_so_between_the_first_and_the_last():
    places = (torch.arange(4) + 0.5) / 4
    stretched = resize(places[:, None], (8, 1), (16, 4), (32, 4))[:, 0]
    assert torch.allclose(stretched[1:-1], ((torch.arange(8) + 0.5) / 8)[1:-1])


def test_patches_of_one_size_are_counted_along_each_axis():
    assert resize(torch.randn(4 * 2, 5), (8 * 4, 5), (16, 8), (32, 16)).shape == (32, 5)


def test_what_does_not_follow_the_size_is_left_as_it_is():
    table = torch.randn(4, 5)
    assert resize(table, (4, 6), (8, 8), (16, 16)) is table


class TestFreezing:
    """``adapt=weights`` trains what no pattern freezes."""

    def frozen(self, *patterns):
        net = Net(spec("ab"))
        Weights("run", list(patterns)).change(net)
        return net, {name for name, p in net.named_parameters() if not p.requires_grad}

    def test_nothing_is_frozen_unless_it_is_asked_for(self):
        assert self.frozen()[1] == set()

    def test_patterns_freeze_and_a_merged_network_is_free(self):
        net, found = self.frozen("first.*", "*.bias")
        assert found == {"first.weight", "first.bias", "joint.bias"}
        Weights("run").merge(net)
        assert all(p.requires_grad for p in net.parameters())

    @pytest.mark.parametrize(
        ("patterns", "said"),
        [
            (
                ["down.*"],
                r"adapt.freeze=\[down.\*\] matches nothing in this network; it has classes.\*, first.\*, joint",
            ),
            (["[fj]*", "*s*"], "leaves nothing to train"),
        ],
        ids=["unknown", "all"],
    )
    def test_a_pattern_for_nothing_and_one_for_everything_are_refused(self, patterns, said):
        with pytest.raises(DiffkitError, match=said):
            self.frozen(*patterns)
