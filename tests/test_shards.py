"""What ranks hold in shards is written and read in shards: by as many ranks, by others, and by one process."""

import json
import shutil
import socket
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import diffkit
from diffkit import DataSpec, Denoiser, DiffkitError, build
from diffkit.flops import parameters
from diffkit.parallel import ShardedLoss
from diffkit.run import checkpoint, shards
from diffkit.run.train import resume

NAMES = ("model", "ema", "length-0.1", "optimizer")
WORDS = (
    *("recipe=spirals", "net.width=24", "train.batch_size=8", "train.save_every=3", "train.log_every=1", "device=cpu"),
    *("train.keep=0", "train.ema_lengths=[0.1]", "sample.n=2", "sampler.steps=1"),
)

PAIR = """
import json, os, shutil, sys
from pathlib import Path
import diffkit
from diffkit.parallel import join_ranks
from diffkit.run import checkpoint, durable, shards
from diffkit.run import train
from diffkit.run.train import resume, start
from torch.distributed.tensor import DTensor

folder, *words = sys.argv[1:]
ranks, said = join_ranks(), {"gathered": [], "read": [], "copied": [], "built": []}

def noting(where, name, note, size=lambda found: getattr(found, "_local_tensor", found).numel()):
    call = getattr(where, name)
    def noted(*given, **options):
        found = call(*given, **options)
        said[note].append(size(found))
        return found
    setattr(where, name, noted)

def only(*steps, name):
    with ranks.in_turn():
        if ranks.first:
            shutil.copytree(f"{folder}/whole", f"{folder}/{name}")
            for path in checkpoint.steps(Path(folder, name, "checkpoints")):
                if int(path.name[5:]) not in steps:
                    shutil.rmtree(path)
    return Path(folder, name)

def flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)

def numel(model):
    return sum(p.numel() for p in (*model.denoiser.parameters(), *model.denoiser.buffers()) if not p.is_meta)

for name in ("Model", "described_model"):
    noting(train, name, "built", numel)
noting(DTensor, "full_tensor", "gathered")
noting(checkpoint, "_on_host", "copied")
start(diffkit.compose(*words, "parallel=fsdp", "train.steps=6"), Path(folder, "whole"))
noting(shards, "_part", "read")
resume(only(3, name="fsdp"), "train.steps=6")
noted = json.dumps(said)

damaged = only(3, 6, name="damaged")
if ranks.first:
    flip(damaged / "checkpoints/step-00000006/optimizer-00002-of-00002.safetensors")
ranks.wait()
resume(damaged, "train.steps=6", "parallel=ddp")
resume(damaged, "train.steps=7", "parallel=fsdp")
missing = only(3, 6, name="missing")
if ranks.first:
    (missing / "checkpoints/step-00000006/ema-00001-of-00002.safetensors").unlink()
ranks.wait()
resume(missing, "train.steps=6")

dying, put = only(3, name="dying"), durable.put
def die(path, data):
    put(path, data)
    os._exit(9)
if not ranks.first:
    durable.put = die
print("noted", noted, flush=True)
resume(dying, "train.steps=6")
"""


NODES = """
import json, sys
from pathlib import Path
import diffkit
from diffkit.parallel import join_ranks, local
from diffkit.run import train
from diffkit.run.train import resume, start

folder, *words = sys.argv[1:]
ranks, made, make = join_ranks(), [], train.make_trainer
train.make_trainer = lambda *given: made.append(make(*given)) or made[-1]
whole = start(diffkit.compose(*words, "parallel=hsdp", "train.steps=6"), Path(folder, "whole")).path
parts = {name: local([p])[0] for name, p in made[0].denoiser.net.named_parameters()}
print("noted", json.dumps([parts["middle.weight"].shape[0], parts["middle.weight"].sum().item()]), flush=True)
resume(whole, "train.steps=7", "parallel=fsdp")
resume(whole, "train.steps=8")
resume(whole, "train.steps=9", "parallel=hsdp")
"""


def ranks_of(script, size, folder, environment, outside_path, **more):
    """Start ``size`` processes of one script; return their statuses, and what they said."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(size), **more}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", script, folder, *WORDS],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(outside_path, **address, RANK=str(rank)),
        )
        for rank in range(size)
    ]
    said = [rank.communicate(timeout=300) for rank in ranks]
    return [rank.returncode for rank in ranks], said


@pytest.fixture(scope="module")
def pair(tmp_path_factory, outside_path, environment):
    """What two ranks left behind, and what each said."""
    folder = tmp_path_factory.mktemp("pair")
    statuses, said = ranks_of(PAIR, 2, folder, environment, outside_path)
    assert statuses == [1, 9], said[0][1][-3000:]
    noted = [json.loads(out.split("noted ")[1].splitlines()[0]) for out, _ in said]
    return SimpleNamespace(folder=folder, out=said[0][0], err=said[0][1], noted=noted)


def sums(run, step=6):
    return (run / f"checkpoints/step-{step:08d}/SHA256SUMS").read_text()


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["loss"] for line in lines if "loss" in line}


def alone(pair, name, *words):
    """Resume the two ranks' run from step 3 by this process."""
    run = shutil.copytree(pair.folder / "whole", pair.folder / name)
    shutil.rmtree(run / "checkpoints/step-00000006")
    return resume(run, "train.steps=6", *words).path


def test_each_rank_writes_its_own_shards_and_what_is_whole_is_written_once(pair):
    found = pair.folder / "whole/checkpoints/step-00000006"
    files = {path.name for path in found.iterdir()}
    assert files == {f"{name}-0000{i}-of-00002.safetensors" for name in NAMES for i in (1, 2)} | {
        "state.json",
        "SHA256SUMS",
    }
    model, optimizer = (
        [safe_open(found / f"{name}-0000{i}-of-00002.safetensors", "pt") for i in (1, 2)]
        for name in ("model", "optimizer")
    )
    assert [file.get_slice("middle.weight").get_shape() for file in model] == [[12, 24], [12, 24]]
    assert ["0.step" in file.keys() for file in optimizer] == [True, False]  # noqa: SIM118


def test_no_rank_gathers_copies_or_reads_more_than_its_share(pair):
    largest = 24 * 24
    for noted in pair.noted:
        assert set(noted["gathered"]) == {1}, "nothing but the gradient's norm"
        assert max(noted["copied"]) == max(noted["read"]) == largest // 2


def test_the_first_rank_alone_builds_a_whole_network_to_start_and_to_go_on(pair):
    first, second = (noted["built"] for noted in pair.noted)
    assert len(first) == 2
    assert min(first) > 24 * 24
    assert second == [0, 0]


def test_two_ranks_resume_to_the_bit(pair):
    assert sums(pair.folder / "fsdp") == sums(pair.folder / "whole")
    assert losses(pair.folder / "fsdp") == losses(pair.folder / "whole")


def test_one_process_resumes_what_two_saved_and_loses_as_they_do(pair):
    run = alone(pair, "alone")
    assert "model.safetensors" in sums(run)
    assert losses(run) == pytest.approx(losses(pair.folder / "whole"), rel=1e-4)


def test_one_process_trains_as_two_do_from_the_first_step_on(pair):
    run = diffkit.train(*WORDS, "train.steps=6", f"out={pair.folder / 'single'}")
    assert losses(run.path) == pytest.approx(losses(pair.folder / "whole"), rel=1e-5)


def test_a_flipped_bit_and_a_missing_shard_are_found_and_the_older_checkpoint_is_taken(pair):
    for name, file, why in (
        ("damaged", "optimizer-00002-of-00002.safetensors", "does not match its checksum"),
        ("missing", "ema-00001-of-00002.safetensors", "No such file"),
    ):
        note = next(line for line in pair.out.splitlines() if line.startswith("note") and f"/{name}/" in line)
        assert "step-00000006 is damaged" in note and file in note and why in note
        assert f"run      {pair.folder / name}, from step 3" in pair.out
    assert sums(pair.folder / "missing") == sums(pair.folder / "whole")


def test_replicas_take_over_shards_and_shards_whole_tensors(pair):
    run = pair.folder / "damaged"
    assert "model.safetensors" in sums(run), "ddp has whole ones"
    assert "model-00002-of-00002.safetensors" in sums(run, 7)
    assert f"run      {run}, from step 6" in pair.out
    assert {**losses(run), 7: 0} == pytest.approx({**losses(pair.folder / "whole"), 7: 0}, rel=1e-4)


def test_a_rank_that_dies_while_it_saves_leaves_the_checkpoint_before(pair):
    run = pair.folder / "dying"
    found, _, numbers, skipped = checkpoint.newest(run / "checkpoints", NAMES)
    assert (found.name, numbers["step"], skipped) == ("step-00000003", 3, [])
    assert f"saved    {run}" not in pair.out


def test_a_report_counts_the_parameters_of_all_shards(pair):
    facts = pytest.importorskip("diffkit_report.facts")
    assert facts.parameters(pair.folder / "whole") == parameters(diffkit.load(pair.folder / "whole").denoiser.net)


def test_a_run_in_shards_is_sampled_averaged_and_exported_by_one_process(pair, tmp_path):
    run = pair.folder / "whole"
    x = diffkit.load(run).sample(4, seed=1)
    assert torch.equal(diffkit.load(diffkit.export(run, tmp_path / "model")).sample(4, seed=1), x)
    assert diffkit.reconstruct(run, length=0.08).profiles == 2
    assert len(list((run / "samples").glob("*/sheet.png"))) == 1


@pytest.mark.filterwarnings("ignore:torch.distributed is disabled")
def test_files_are_laid_out_as_torch_reads_its_own(pair, tmp_path):
    dcp = pytest.importorskip("torch.distributed.checkpoint")
    if not hasattr(dcp, "HuggingFaceStorageReader"):
        pytest.skip("this torch reads no sharded safetensors")
    found = pair.folder / "whole/checkpoints/step-00000006"
    for path in found.glob("optimizer-*"):
        shutil.copy(path, tmp_path)
    ours = checkpoint.read(found, ("optimizer",))[0]["optimizer"]
    theirs = {name: torch.full_like(value, 7) for name, value in ours.items()}
    dcp.load(theirs, storage_reader=dcp.HuggingFaceStorageReader(str(tmp_path)), no_dist=True)
    assert all(torch.equal(value, theirs[name]) for name, value in ours.items())


def test_two_nodes_of_two_ranks_each_hold_the_same_shards_and_train_as_one_process_does(
    tmp_path, outside_path, environment
):
    statuses, said = ranks_of(NODES, 4, tmp_path, environment, outside_path, LOCAL_WORLD_SIZE="2")
    assert statuses == [0] * 4, said[0][1][-3000:]
    parts = [json.loads(out.split("noted ")[1].splitlines()[0]) for out, _ in said]
    assert parts[0] == parts[2] != parts[1] == parts[3], "ranks 0 and 1 are a node, and 2 and 3 another"
    assert {rows for rows, _ in parts} == {12}
    found = tmp_path / "whole/checkpoints"
    rows = {
        path.name: safe_open(path, "pt").get_slice("middle.weight").get_shape()[0]
        for path in found.glob("step-00000009/model-*")
        if "middle.weight" in safe_open(path, "pt").keys()  # noqa: SIM118
    }
    assert sorted(rows.values()) == [12, 12], "each shard is written once"
    run = diffkit.train(*WORDS, "train.steps=9", f"out={tmp_path / 'single'}")
    assert losses(tmp_path / "whole") == pytest.approx(losses(run.path), rel=1e-4)


def test_nodes_of_unequal_size_are_refused(monkeypatch):
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 5)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(DiffkitError, match=r"as many ranks on every node, and 5 are not 2 on each; give parallel=fsdp"):
        ShardedLoss(Denoiser(build("net", "mlp", spec=DataSpec(1, (4,)), width=8), "root", "clean"), "fp32", "hsdp")


def shard(path, places=None, **tensors):
    header = None if places is None else {shards.PLACES: json.dumps({k: {shards.FIRST: v} for k, v in places.items()})}
    save_file(tensors, path, header)
    return path


ROWS = torch.arange(12.0).view(4, 3)


def test_shards_of_any_sides_are_joined(tmp_path):
    corners = [(0, 0), (0, 2), (1, 0), (1, 2)]
    files = [
        shard(
            tmp_path / f"{i}", {"w": at}, w=ROWS[at[0] : 1 if at[0] == 0 else 4, at[1] : 2 if at[1] == 0 else 3].clone()
        )
        for i, at in enumerate(corners)
    ]
    assert torch.equal(shards.read(files)["w"], ROWS)


@pytest.mark.parametrize(
    "places", [[1], [0, 0], [1, 1], [0, 3], [0, -2], [0, 2**62], [0, "2"], [0, None], [[], 2]], ids=str
)
def test_what_strangers_say_of_places_is_not_believed(tmp_path, places):
    files = [shard(tmp_path / f"{i}", {"w": [at, 0]}, w=ROWS[2 * i : 2 * i + 2].clone()) for i, at in enumerate(places)]
    with pytest.raises((ValueError, TypeError, OverflowError)):
        shards.read(files)


def test_a_shard_that_is_not_listed_is_not_read(tmp_path):
    with pytest.raises(DiffkitError, match=r"is damaged: KeyError: 'ema\.safetensors'"):
        checkpoint.read(checkpoint.write(tmp_path, {"model": {"w": ROWS}}, {"step": 1}), ("model", "ema"))
