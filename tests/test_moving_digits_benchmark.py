import importlib.util
import sys
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module")
def bench():
    """benchmarks/moving_digits.py, as a module."""
    path = Path(__file__).parents[1] / "benchmarks" / "moving_digits.py"
    spec = importlib.util.spec_from_file_location("benchmark_moving_digits", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclass looks its own module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def judge(bench):
    return bench.Judge.of(bench.real({}, "train", 1000))


@pytest.fixture(scope="module")
def held_out(bench):
    return bench.items(bench.real({}, "held_out", 300), 300)


def test_held_out_clips_are_recognised_and_move(judge, held_out):
    figures = judge.score(*held_out)
    assert figures["agreement"] >= 0.95
    assert figures["agreement_frames"] >= 0.95
    assert figures["steadiness"] >= 0.98
    assert figures["moving"] >= 0.9
    assert figures["whole"] == 1


def test_clips_that_stand_still_or_jump_do_not_move(judge, held_out):
    clips, labels = held_out
    assert judge.score(clips[:, :, :1].expand_as(clips), labels)["moving"] == 0
    jumping = clips[:, :, [0, 4, 1, 5, 2, 6, 3, 7]]
    assert judge.score(jumping, labels)["moving"] < 0.1


def test_another_digit_than_asked_is_noticed(judge, held_out):
    clips, labels = held_out
    assert judge.score(clips, (labels + 1) % 10)["agreement"] < 0.05


def test_a_digit_that_turns_into_another_is_not_steady(judge, held_out):
    clips, labels = held_out
    turned = torch.cat((clips[:, :, :4], clips.roll(1, 0)[:, :, 4:]), 2)
    assert judge.score(turned, labels)["steadiness"] < 0.7


def test_a_digit_that_fades_is_not_whole(judge, held_out):
    clips, labels = held_out
    fading = torch.linspace(1, 0.1, 8)[:, None, None]
    assert judge.score((clips + 1) * fading - 1, labels)["whole"] == 0


@pytest.mark.parametrize("level", [-1.0, 1.0])
def test_blank_clips_score_without_an_error(judge, level):
    figures = judge.score(torch.full((10, 1, 8, 16, 16), level), list(range(10)))
    assert figures["moving"] == 0
    assert figures["agreement"] <= 0.2
