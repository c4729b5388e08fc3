"""Batches fetched ahead: the same by any workers and ranks, whatever becomes of a worker."""

import os
import signal
import subprocess
import sys
import time
import warnings

import pytest
import torch

from diffkit import ConditionSpec, DataSpec, DiffkitError, build
from diffkit.data import workers
from diffkit.data.fetch import fetch
from diffkit.data.stream import BatchStream
from diffkit.data.workers import ATTEMPTS


class Numbers:
    """Item i is the number i; ``meet`` does what it likes to those that fetch it."""

    modality = "numbers"
    spec = DataSpec(1, (2,), ("a", "b", "c"))

    def __init__(self, size=50, meet=lambda index: None):
        self.size, self.meet = size, meet

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        self.meet(index)
        return torch.full((1, 2), float(index)), index % 3


class Told(Numbers):
    """The same, with conditions of every kind, each missing now and then."""

    spec = DataSpec(
        1,
        (2,),
        ("a", "b", "c"),
        conditions=(
            ConditionSpec("second", "classes", 5),
            ConditionSpec("when", "values", 2),
            ConditionSpec("text", "sequence", 3, length=4),
            ConditionSpec("where", "map", 1),
        ),
    )

    def __getitem__(self, index):
        told = {
            "label": index % 3,
            "second": index % 5,
            "when": torch.tensor([index, 1.0]),
            "text": torch.full((4, 3), float(index)),
            "where": torch.full((1, 2), float(index)),
        }
        return torch.full((1, 2), float(index)), {k: v for i, (k, v) in enumerate(told.items()) if index % 7 != i}


@pytest.fixture
def streams():
    """A function that makes streams, which are closed in the end."""
    made = []

    def make(dataset, *words, **how):
        made.append(BatchStream(dataset, *words, **how))
        return made[-1]

    yield make
    for stream in made:
        stream.close()


@pytest.fixture(autouse=True)
def no_warning_unless_expected():
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "data worker")
        yield


def same(ours, theirs):
    return all(
        a.dtype == b.dtype and torch.equal(a.nan_to_num(-1), b.nan_to_num(-1))
        for a, b in zip((ours[0], *ours[1].values()), (theirs[0], *theirs[1].values()), strict=True)
    )


def processes(stream):
    return [worker.process for worker in stream._workers._workers]


@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_side_by_side_fetch_the_same_batch_with_any_number_of_workers(streams, count, ranks):
    whole = streams(Told(), 8, 5)
    parts = [streams(Told(), 8, 5, rank=rank, ranks=ranks, workers=count if rank == 0 else 0) for rank in range(ranks)]
    for step in range(15):
        xs, conds = zip(*(part.batch(step) for part in parts), strict=True)
        assert same((torch.cat(xs), {k: torch.cat([c[k] for c in conds]) for k in conds[0]}), whole.batch(step))


def test_a_batch_is_shared_out_though_ranks_do_not_divide_it(streams):
    rows = [streams(Numbers(), 7, 0, rank=rank, ranks=3).indices(4) for rank in range(3)]
    assert [len(some) for some in rows] == [2, 2, 3]
    assert [index for some in rows for index in some] == streams(Numbers(), 7, 0).indices(4)
    with pytest.raises(DiffkitError, match=r"train.batch_size=2 is less .* 3 ranks"):
        streams(Numbers(), 2, 0, ranks=3)


def test_a_run_may_go_on_anywhere(streams):
    whole, ahead = streams(Numbers(), 8, 1), streams(Numbers(), 8, 1, workers=2)
    for step in (17, 18, 19, 3, 4, 19, 0, 10**12, 10**12 + 1):
        assert same(ahead.batch(step), whole.batch(step))
    ahead.close()
    ahead.close()
    assert same(ahead.batch(20), whole.batch(20))


def test_a_batch_stays_as_it_is_while_later_ones_are_fetched(streams):
    stream = streams(Numbers(), 8, 0, workers=1)
    early = stream.batch(0)
    before = early[0].clone(), {"label": early[1]["label"].clone()}
    for step in range(1, 12):
        stream.batch(step)
    assert same(early, before)


def test_a_killed_worker_is_named_and_another_goes_on_with_the_same_batches(streams):
    whole, stream = streams(Numbers(), 8, 0), streams(Numbers(), 8, 0, workers=2)
    stream.batch(0)
    pid = processes(stream)[1].pid
    os.kill(pid, signal.SIGKILL)
    with pytest.warns(UserWarning, match=rf"data worker 1 \(process {pid}\) was ended by SIGKILL .* stay the same"):
        batches = [stream.batch(step) for step in range(1, 9)]
    assert all(same(batch, whole.batch(step)) for step, batch in enumerate(batches, start=1))
    assert all(process.is_alive() for process in processes(stream))


def test_workers_that_are_killed_again_and_again_change_nothing(streams):
    whole, stream = streams(Numbers(), 8, 0), streams(Numbers(), 8, 0, workers=2)
    with pytest.warns(UserWarning, match="SIGKILL"):
        for step in range(40):
            assert same(stream.batch(step), whole.batch(step))
            processes(stream)[step % 3 % 2].kill()


def test_a_stalled_worker_is_named_and_another_takes_its_place(streams):
    whole, stream = streams(Numbers(), 8, 0), streams(Numbers(), 8, 0, workers=2, timeout=0.5)
    stream.batch(0)
    stalled = processes(stream)[0]
    os.kill(stalled.pid, signal.SIGSTOP)
    with pytest.warns(UserWarning, match=rf"data worker 0 \(process {stalled.pid}\) gave no answer for 0.5 s"):
        batches = [stream.batch(step) for step in range(1, 9)]
    assert all(same(batch, whole.batch(step)) for step, batch in enumerate(batches, start=1))
    assert not alive(stalled.pid)


def test_a_batch_that_no_worker_survives_ends_in_a_sentence(streams):
    def meet(index):
        if index == 7:
            os.kill(os.getpid(), signal.SIGKILL)

    stream = streams(Numbers(16, meet), 4, 0, workers=1)
    bad = next(step for step in range(4) if 7 in stream.indices(step))
    with pytest.warns(UserWarning, match="SIGKILL") as said, pytest.raises(DiffkitError) as raised:
        for step in range(4):
            stream.batch(step)
    assert f"while it fetched the batch of step {bad + 1}, as did {ATTEMPTS - 1} before it" in str(raised.value)
    assert "train.workers=0" in str(raised.value)
    assert len(said) == ATTEMPTS - 1


def test_what_a_data_set_raises_is_raised_with_the_place_and_the_stream_goes_on(streams):
    class Peculiar(Exception):  # cannot be sent: its class has no name elsewhere
        pass

    def meet(index):
        if index == 3:
            raise DiffkitError("item 3 is damaged; remove it")
        if index == 5:
            raise FileNotFoundError(2, "No such file", "5.png")
        if index == 9:
            raise Peculiar("nine")

    stream = streams(Numbers(12, meet), 1, 0, workers=2)
    for step in range(12):
        (index,) = stream.indices(step)
        kind = {3: DiffkitError, 5: FileNotFoundError, 9: RuntimeError}.get(index)
        if kind is None:
            assert stream.batch(step)[0][0, 0, 0] == index
            continue
        with pytest.raises(kind) as raised:
            stream.batch(step)
        said = {3: "item 3 is damaged; remove it", 5: "[Errno 2] No such file: '5.png'", 9: "Peculiar: nine"}
        assert str(raised.value) == said[index]
        assert index == 9 or "in meet" in raised.value.__notes__[0]


def test_a_worker_that_cannot_be_started_is_a_sentence(streams, monkeypatch):
    def refuse():
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refuse)
    stream = streams(Numbers(), 4, 0, workers=2)
    with pytest.raises(DiffkitError, match=r"worker 0 cannot be started \(Resource .* train\.workers=0"):
        stream.batch(0)
    monkeypatch.undo()
    assert same(stream.batch(0), streams(Numbers(), 4, 0).batch(0))


def test_items_of_another_shape_than_the_spec_says_are_refused(streams):
    class Longer(Numbers):
        def __getitem__(self, index):
            return torch.zeros(1, 3), 0

    with pytest.raises(DiffkitError, match=r"the data's 'x' is, batched, \(4, 1, 3\) instead of \(4, 1, 2\)"):
        streams(Longer(), 4, 0, workers=1).batch(0)


def test_workers_end_with_the_stream_and_leave_ctrl_c_to_the_training(streams):
    stream = streams(Numbers(), 4, 0, workers=2)
    stream.batch(0)
    ended = processes(stream)
    for process in ended:
        os.kill(process.pid, signal.SIGINT)
    assert same(stream.batch(1), streams(Numbers(), 4, 0).batch(1))
    stream.close()
    assert [process.exitcode for process in ended] == [0, 0]


def test_workers_end_when_the_training_is_killed_whatever_they_do():
    script = """
import torch, time
from diffkit import DataSpec
from diffkit.data.stream import BatchStream
class Zeros:
    modality, spec = "zeros", DataSpec(1, (2,))
    def __len__(self): return 9
    fetched = 0
    def __getitem__(self, index):
        self.fetched += 1
        time.sleep(60 if self.fetched > 4 else 0)
        return torch.zeros(1, 2), 0
stream = BatchStream(Zeros(), 4, 0, workers=2)
stream.batch(0)
print(*(worker.process.pid for worker in stream._workers._workers), flush=True)
time.sleep(60)
"""
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(word) for word in parent.stdout.readline().split()]
        parent.kill()
    assert len(pids) == 2
    until = time.monotonic() + 20
    while any(map(alive, pids)):
        assert time.monotonic() < until, "a worker outlives the training"
        time.sleep(0.05)


def alive(pid):
    try:
        os.kill(pid, 0)
        with open(f"/proc/{pid}/stat") as stat:
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_data_set_is_sent_where_processes_are_not_forked(streams, monkeypatch):
    monkeypatch.setattr(workers, "METHOD", "spawn")
    data = build("data", "spirals")
    stream = streams(data, 8, 0, workers=1)
    assert same(stream.batch(3), fetch(data, stream.indices(3)))
