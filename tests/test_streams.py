"""Random numbers depend on what they are for, never on what was drawn before."""

import subprocess
import sys

import pytest
import torch

from diffkit import Streams, generator
from diffkit.streams import key


def test_a_key_is_the_same_on_every_machine_and_in_every_process():
    script = "from diffkit.streams import key; print(key(7, 'noise', 3))"
    other = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env={"PYTHONHASHSEED": "1"})
    assert int(other.stdout) == key(7, "noise", 3)


def test_a_key_fits_a_torch_seed():
    assert all(0 <= key(i) < 2**63 for i in range(1000))


@pytest.mark.parametrize(
    ("a", "b"), [((1, 23), (12, 3)), (("a", 1), (1, "a")), ((1,), (1, 0)), ((0,), ()), ((-1,), (1,))]
)
def test_different_parts_give_different_keys(a, b):
    assert key(*a) != key(*b)


def test_keys_of_neighbours_share_nothing():
    """The numbers drawn for neighbouring samples and steps are uncorrelated: 0 within five standard errors."""
    drawn = torch.stack([torch.randn(10_000, generator=generator(0, i, j)) for i in range(4) for j in range(4)])
    correlation = torch.corrcoef(drawn) - torch.eye(16)
    assert correlation.abs().max() < 5 / 10_000**0.5


def test_sample_7_is_the_same_tensor_in_a_batch_of_one_and_of_64():
    whole = Streams(3, range(64)).draw((2, 5), 0)
    for i in (0, 7, 63):
        assert torch.equal(whole[i : i + 1], Streams(3, [i]).draw((2, 5), 0))


def test_a_step_is_the_same_tensor_whichever_steps_were_drawn_before():
    streams = Streams(3, range(4))
    first = streams.draw((2, 5), 6)
    for step in (0, 1, 2):
        streams.draw((9,), step)
    assert torch.equal(streams.draw((2, 5), 6), first)


@pytest.mark.parametrize("other", [(4, [0], 0), (3, [1], 0), (3, [0], 1)], ids=["seed", "index", "step"])
def test_seed_index_and_step_each_change_the_noise(other):
    seed, indices, step = other
    assert not torch.equal(Streams(3, [0]).draw((8,), 0), Streams(seed, indices).draw((8,), step))


def test_noise_has_zero_mean_and_unit_variance():
    drawn = Streams(0, range(1000)).draw((100,), 0).double()
    assert abs(drawn.mean().item()) < 5 / 1e5**0.5
    assert abs(drawn.var().item() - 1) < 5 * (2 / 1e5) ** 0.5


def test_noise_follows_dtype_and_device_of_the_sample_but_not_its_numbers():
    like = torch.zeros(2, 3, dtype=torch.float64)
    drawn = Streams(0, [4, 5]).draw((3,), 1, like=like)
    assert drawn.dtype == torch.float64
    assert torch.equal(drawn.float(), Streams(0, [4, 5]).draw((3,), 1))


def test_a_noise_model_is_asked_sample_by_sample():
    def uniform(shape, generator=None, device="cpu"):
        return (torch.rand(shape, generator=generator) - 0.5) * 12**0.5

    whole = Streams(0, range(8), uniform).draw((3,), 0)
    assert whole.abs().max() <= 3**0.5
    assert torch.equal(whole[5:6], Streams(0, [5], uniform).draw((3,), 0))


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    Streams(0, range(3)).draw((4,), 0)
    generator(1, "a")
    assert torch.equal(torch.get_rng_state(), before)
