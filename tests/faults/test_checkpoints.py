"""Faults of one saving: killed or failed at every call, and files damaged in every way."""

import errno
import itertools
import random
import shutil
import signal

import pytest
import torch

from diffkit import DiffkitError
from diffkit.run import checkpoint

NAMES = ("model", "ema", "optimizer")


def save(folder, step, **options):
    values = {"w": torch.full((5, 3), float(step)), "b": torch.arange(4)}
    return checkpoint.write(folder, dict.fromkeys(NAMES, values), {"step": step}, **options)


def newest(folder):
    """Return the step of the newest valid checkpoint, once it is known to hold what was saved."""
    _, tensors, numbers, skipped = checkpoint.newest(folder, NAMES)
    assert all((tensors[name]["w"] == numbers["step"]).all() for name in NAMES)
    return numbers["step"], skipped


def settle(folder):
    """Save once more, and see that nothing of an accident is left."""
    save(folder, 40)
    assert newest(folder) == (40, [])
    assert not list(folder.glob(".*")) and len(checkpoint.steps(folder)) <= 2


@pytest.mark.parametrize("before", ["nothing", "a damaged one", "a good one"])
def test_killed_at_every_call_of_one_saving_a_checkpoint_as_new_as_the_last_announced_is_left(tmp_path, faults, before):
    killed = 0
    for number in itertools.count():
        folder = tmp_path / str(number)
        save(folder, 10)
        save(folder, 20)
        if before != "nothing":
            written = save(folder, 30)
        if before == "a damaged one":
            (written / "ema.safetensors").write_bytes(b"")

        def child(folder=folder, number=number):
            with faults.at_call(folder, number, faults.die):
                print(save(folder, 30))

        process = faults.Child(child)
        status = process.end()
        step, skipped = newest(folder)
        assert step == 30 or (step == 20 and before != "a good one")
        assert before == "a damaged one" or not skipped
        settle(folder)
        if status == 0:
            assert process.said
            break
        assert status == -signal.SIGKILL, process.said
        assert not process.said
        killed += 1
    assert killed > 20
    print(f"{killed} calls killed at, none lost")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.EROFS, errno.EDQUOT])
def test_failing_at_every_call_of_one_saving_costs_none_of_the_older_ones(tmp_path, faults, number):
    def fail(descriptor):
        raise OSError(number, "made to fail")

    said = []
    for call in itertools.count():
        folder = tmp_path / str(call)
        save(folder, 10)
        save(folder, 20)
        with faults.at_call(folder, call, fail) as plan:
            try:
                save(folder, 30)
            except DiffkitError as error:
                said.append(str(error))
        assert newest(folder)[0] in (20, 30)
        settle(folder)
        if plan.count <= call:
            break
    assert len(said) > 15
    assert all("step-00000030 could not be written (" in one and "made to fail" in one for one in said)


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def flip(data, rng):
    place = rng.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]


def zero(data, rng):
    place = rng.randrange(len(data))
    return data[:place] + b"\0" * (len(data) - place)


@pytest.mark.parametrize("damage", [cut, flip, zero, None], ids=["truncated", "one bit", "zeroed tail", "missing"])
def test_three_hundred_damages_are_never_silently_loaded(tmp_path, damage):
    rng, found = random.Random(0), save(tmp_path, 10)
    files = {path.name: path.read_bytes() for path in found.iterdir()}
    refused, harmless = 0, 0
    while refused < 300:
        name = rng.choice(sorted(files))
        data = files[name] if damage is None else damage(files[name], rng)
        if data == files[name] and damage is not None:
            continue  # zeros over zeros
        if damage is None:
            (found / name).unlink()
        else:
            (found / name).write_bytes(data)
        try:
            tensors, numbers = checkpoint.read(found, NAMES)
        except DiffkitError:
            refused += 1
        else:  # a line's end that ends it in another way, or is the last
            assert name == "SHA256SUMS" and numbers == {"step": 10}
            assert all(torch.equal(tensors[one]["w"], torch.full((5, 3), 10.0)) for one in NAMES)
            harmless += 1
        (found / name).write_bytes(files[name])
    assert harmless < 10


class TestTheWriter:
    def tensors(self, step):
        values = {"w": torch.full((5, 3), float(step)), "b": torch.arange(4)}
        return {name: values for name in NAMES}  # noqa: C420

    def test_saves_a_copy_so_that_training_may_go_on(self, tmp_path):
        tensors = self.tensors(10)
        with checkpoint.Writer(tmp_path) as writer:
            writer.save(tensors, {"step": 10})
            tensors["model"]["w"].fill_(99)
        assert newest(tmp_path) == (10, [])

    def test_announces_only_what_is_there(self, tmp_path):
        announced = []
        with checkpoint.Writer(
            tmp_path, announce=lambda path: announced.append(checkpoint.read(path, NAMES)[1]["step"])
        ) as w:
            for step in (10, 20, 30):
                w.save(self.tensors(step), {"step": step})
                assert len(announced) >= step // 10 - 1, "one at a time"
        assert announced == [10, 20, 30]

    def test_raises_what_went_wrong_at_the_next_call_and_announces_nothing(self, tmp_path, faults):
        def full(descriptor):
            raise OSError(errno.ENOSPC, "No space left on device")

        announced = []
        writer = checkpoint.Writer(tmp_path, announce=announced.append)
        with faults.at_call(tmp_path, 4, full):
            writer.save(self.tensors(10), {"step": 10})
            with pytest.raises(DiffkitError, match="No space left on device"):
                writer.wait()
        assert announced == []
        writer.save(self.tensors(20), {"step": 20})
        writer.wait()
        assert newest(tmp_path) == (20, [])

    @pytest.mark.parametrize("where", ["_on_host", "save"])
    def test_out_of_memory_costs_none_of_the_older_ones(self, tmp_path, monkeypatch, where):
        save(tmp_path, 10)

        def exhausted(*arguments):
            raise MemoryError

        monkeypatch.setattr(checkpoint, where, exhausted)
        with pytest.raises(DiffkitError, match="out of memory"), checkpoint.Writer(tmp_path) as writer:
            writer.save(self.tensors(20), {"step": 20})
        assert newest(tmp_path) == (10, [])
        assert not list(tmp_path.glob(".*"))


def test_what_is_later_than_the_state_that_was_saved_goes(tmp_path):
    """A run that went on from step 20, since 30 and 40 were damaged, is not led astray by them, nor loses its own."""
    for step in (20, 30, 40):
        save(tmp_path, step, keep=0)
    for step in (30, 40):
        (tmp_path / f"step-000000{step}/ema.safetensors").write_bytes(b"")
    save(tmp_path, 25)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-00000025", "step-00000020"]


def test_checkpoints_beyond_eight_digits_are_newest_all_the_same(tmp_path):
    for step in (99_999_999, 100_000_000):
        save(tmp_path, step)
    assert [int(path.name[5:]) for path in checkpoint.steps(tmp_path)] == [100_000_000, 99_999_999]


def test_a_whole_one_that_was_moved_aside_is_taken(tmp_path):
    save(tmp_path, 20)
    found = save(tmp_path, 30)
    found.rename(found.with_name(f"{found.name}.old"))
    assert newest(tmp_path) == (30, [])
    shutil.rmtree(tmp_path)
