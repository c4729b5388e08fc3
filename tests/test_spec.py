"""A spec is of data there can be."""

import math

import pytest

from diffkit import ConditionSpec, DataSpec, DiffkitError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"channels": 0}, "channels=0"),
        ({"channels": 1.0}, "channels=1.0"),
        ({"shape": (8, 0)}, r"shape=\(8, 0\)"),
        ({"shape": ("8", 8)}, "give whole numbers above 0"),
        ({"outputs": 0}, "outputs=0"),
        ({"labels": ("cat", "dog", "cat")}, "each once"),
        ({"labels": (0, 1)}, "names of its classes"),
        ({"std": 0.0}, "std=0.0"),
        ({"std": math.nan}, "std=nan"),
        ({"rate": -1.0}, "rate=-1.0"),
        ({"rate": math.inf}, "rate=inf"),
    ],
)
def test_a_spec_of_no_data_is_refused_with_what_to_give(given, said):
    with pytest.raises(DiffkitError, match=said):
        DataSpec(**{"channels": 1, "shape": (8, 8), **given})


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"name": "a word"}, "'a word'"),
        ({"kind": "smell"}, "classes, values, sequence, map"),
        ({"size": 0}, "size=0"),
        ({"kind": "sequence", "length": 0}, "length=0"),
    ],
)
def test_a_condition_that_is_none_is_refused_with_what_to_give(given, said):
    with pytest.raises(DiffkitError, match=said):
        ConditionSpec(**{"name": "caption", "kind": "values", "size": 4, **given})


def test_rows_without_an_axis_and_clips_with_conditions_are_data():
    assert DataSpec(4, ()).rank == 0
    whole = DataSpec(3, (4, 8, 8), ("a", "b"), 0.5, 8.0, (ConditionSpec("words", "sequence", 16, 7),))
    assert DataSpec.fromdict(whole.asdict()) == whole
