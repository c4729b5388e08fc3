"""Checkpoints appear whole or not at all, and what was damaged since is named and skipped."""

import hashlib
import json
import shutil
import subprocess
import sys

import pytest
import torch

import diffkit
from diffkit import DiffkitError
from diffkit.run import checkpoint

NAMES = ("model", "ema", "optimizer")


def write(folder, step, fill=None):
    values = {"w": torch.full((3, 2), float(step if fill is None else fill)), "b": torch.arange(4)}
    return checkpoint.write(folder, dict.fromkeys(NAMES, values), {"step": step, "note": "x"})


def test_gives_back_what_was_written(tmp_path):
    found = write(tmp_path, 7)
    tensors, numbers = checkpoint.read(found, NAMES)
    assert numbers == {"step": 7, "note": "x"}
    assert torch.equal(tensors["ema"]["w"], torch.full((3, 2), 7.0))
    assert tensors["ema"]["b"].dtype == torch.int64


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.bool, torch.uint8])
def test_keeps_every_bit_of_every_dtype_even_of_views(tmp_path, dtype):
    value = torch.randint(0, 2, (4, 6), generator=torch.Generator().manual_seed(0)).to(dtype).T
    found = checkpoint.write(tmp_path, {"model": {"w": value}}, {"step": 1})
    again = checkpoint.read(found, ("model",))[0]["model"]["w"]
    assert again.dtype == dtype and torch.equal(again, value)


def test_keeps_a_scalar_and_an_empty_tensor(tmp_path):
    values = {"step": torch.tensor(3.0), "none": torch.empty(0, 2)}
    tensors, _ = checkpoint.read(checkpoint.write(tmp_path, {"model": values}, {"step": 1}), ("model",))
    assert tensors["model"]["step"].shape == () and tensors["model"]["none"].shape == (0, 2)


def test_lists_checksums_that_sha256sum_can_check(tmp_path):
    found = write(tmp_path, 1)
    sums = dict(reversed(line.split("  ")) for line in (found / "SHA256SUMS").read_text().splitlines())
    assert set(sums) == {f"{name}.safetensors" for name in NAMES} | {"state.json"}
    assert all(hashlib.sha256((found / name).read_bytes()).hexdigest() == digest for name, digest in sums.items())


def test_keeps_the_newest_and_one_to_fall_back_to(tmp_path):
    for step in (5, 10, 15, 20):
        write(tmp_path, step)
    assert [path.name for path in checkpoint.steps(tmp_path)] == ["step-00000020", "step-00000015"]


def test_replaces_a_checkpoint_of_the_same_step(tmp_path):
    write(tmp_path, 5)
    write(tmp_path, 5, fill=9)
    assert checkpoint.newest(tmp_path, NAMES)[1]["model"]["w"][0, 0] == 9


def test_leaves_nothing_but_checkpoints_behind(tmp_path):
    write(tmp_path, 5)
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000005"]


FILES = [*(f"{name}.safetensors" for name in NAMES), "state.json", "SHA256SUMS"]


def flip_first(data):
    return bytes([data[0] ^ 1]) + data[1:]


def flip_middle(data):
    return data[: len(data) // 2] + bytes([data[len(data) // 2] ^ 16]) + data[len(data) // 2 + 1 :]


DAMAGES = {
    "flipped at the start": flip_first,
    "flipped in the middle": flip_middle,
    "flipped at the end": lambda data: flip_first(data[::-1])[::-1],
    "cut by one byte": lambda data: data[:-1],
    "cut in half": lambda data: data[: len(data) // 2],
    "emptied": lambda data: b"",
    "deleted": lambda data: None,
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("file", FILES)
def test_damage_to_any_file_is_found_and_the_older_valid_one_is_taken_and_the_reason_said(tmp_path, file, damage):
    write(tmp_path, 10)
    newest = write(tmp_path, 20)
    damaged = DAMAGES[damage]((newest / file).read_bytes())
    if damaged is None:
        (newest / file).unlink()
    else:
        (newest / file).write_bytes(damaged)
    if file == "SHA256SUMS" and damage in ("cut by one byte", "flipped at the end"):
        return  # the last newline: nothing that matters is gone
    found, tensors, numbers, skipped = checkpoint.newest(tmp_path, NAMES)
    assert (found.name, numbers["step"]) == ("step-00000010", 10)
    assert tensors["model"]["w"][0, 0] == 10
    assert len(skipped) == 1 and "step-00000020 is damaged" in skipped[0]
    assert "\n" not in skipped[0]


def test_where_none_is_valid_the_error_says_why_for_each(tmp_path):
    for step in (10, 20):
        (write(tmp_path, step) / "model.safetensors").write_bytes(b"")
    with pytest.raises(
        DiffkitError, match=r"no valid checkpoint: .*step-00000020 is damaged.*step-00000010 is damaged"
    ):
        checkpoint.newest(tmp_path, NAMES)


def test_where_there_is_none_the_error_says_what_to_do(tmp_path):
    with pytest.raises(DiffkitError, match="has no valid checkpoint; train longer before you use it"):
        checkpoint.newest(tmp_path / "checkpoints", NAMES)


def test_a_checksum_file_cannot_point_outside_its_folder(tmp_path):
    found = write(tmp_path, 1)
    secret = tmp_path / "secret"
    secret.write_text("x")
    with (found / "SHA256SUMS").open("a") as file:
        file.write(f"{hashlib.sha256(b'x').hexdigest()}  ../secret\n")
    with pytest.raises(DiffkitError, match=r"SHA256SUMS names '\.\./secret'"):
        checkpoint.read(found, NAMES)


def test_a_file_that_the_checksums_do_not_list_is_not_trusted(tmp_path):
    found = write(tmp_path, 1)
    sums = (found / "SHA256SUMS").read_text().splitlines(keepends=True)
    (found / "SHA256SUMS").write_text("".join(line for line in sums if "ema" not in line))
    with pytest.raises(DiffkitError, match=r"is damaged: KeyError: 'ema\.safetensors'"):
        checkpoint.read(found, NAMES)


def test_a_file_whose_checksum_fits_but_that_is_no_safetensors_is_damaged_too(tmp_path):
    """Whoever writes the file can write its checksum; nothing but safetensors and JSON is ever read."""
    found = write(tmp_path, 1)
    pickle = b"\x80\x04\x95cos\nsystem\n."
    sums = (
        (found / "SHA256SUMS")
        .read_text()
        .replace(
            hashlib.sha256((found / "model.safetensors").read_bytes()).hexdigest(),
            hashlib.sha256(pickle).hexdigest(),
            1,
        )
    )
    (found / "model.safetensors").write_bytes(pickle)
    (found / "SHA256SUMS").write_text(sums)
    with pytest.raises(DiffkitError, match="is damaged"):
        checkpoint.read(found, NAMES)


@pytest.mark.parametrize("state", ["[]", "not json", "{}", '{"step": "many"}'])
def test_nor_is_a_state_that_holds_no_step_taken(tmp_path, state):
    write(tmp_path, 10)
    found = write(tmp_path, 20)
    old = hashlib.sha256((found / "state.json").read_bytes()).hexdigest()
    (found / "state.json").write_text(state)
    sums = (found / "SHA256SUMS").read_text()
    (found / "SHA256SUMS").write_text(sums.replace(old, hashlib.sha256(state.encode()).hexdigest()))
    assert checkpoint.newest(tmp_path, NAMES)[2]["step"] == 10


def test_a_stray_file_among_checkpoints_is_passed_over(tmp_path):
    write(tmp_path, 10)
    (tmp_path / "step-99999999").write_text("not a folder")
    assert checkpoint.newest(tmp_path, NAMES)[2]["step"] == 10


def test_no_pickle_is_written_anywhere_in_a_run(trained):
    for path in trained.rglob("*"):
        if path.is_file():
            assert not path.read_bytes().startswith((b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05", b"PK")), path


KILLING = """
import os, signal, sys, time, torch
from pathlib import Path
from diffkit.run import checkpoint
torch.set_num_threads(1)
values = {"w": torch.zeros(200_000)}
for attempt in range(int(sys.argv[2])):
    folder, (reading, writing) = Path(sys.argv[1], str(attempt)), os.pipe()
    child = os.fork()
    if child == 0:
        for step in range(1, 100_000):
            values["w"].fill_(step)
            checkpoint.write(folder, dict.fromkeys(("model", "ema", "optimizer"), values), {"step": step})
            os.write(writing, f"{step}\\n".encode())
    os.close(writing)
    said = os.read(reading, 10)
    time.sleep(0.02 + 0.007 * attempt)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while more := os.read(reading, 1000):
        said += more
    print(said.split()[-1].decode())
"""


def test_killed_at_any_moment_of_saving_a_valid_checkpoint_is_left(tmp_path):
    """kill -9 at moments spread over many savings: what is on the disk is as new as reported."""
    killing = [sys.executable, "-c", KILLING, str(tmp_path), "10"]
    reported = subprocess.run(killing, capture_output=True, text=True, check=True, timeout=120).stdout.split()
    assert len(reported) == 10
    for attempt, step in enumerate(reported):
        folder = tmp_path / str(attempt)
        _, tensors, numbers, skipped = checkpoint.newest(folder, NAMES)
        assert skipped == [], "no torn checkpoint under a checkpoint's name"
        assert numbers["step"] >= int(step)
        assert (tensors["model"]["w"] == numbers["step"]).all()
        write(folder, 10**6)
        assert [path.name for path in folder.glob(".*")] == [], "the next saving tidies up"


def test_a_run_with_a_damaged_checkpoint_is_sampled_from_the_one_before(trained, tmp_path):
    newest = trained / "checkpoints/step-00000030"
    data = (newest / "ema.safetensors").read_bytes()
    older = shutil.copytree(trained, tmp_path / "older")
    shutil.rmtree(older / "checkpoints/step-00000030")
    (newest / "ema.safetensors").write_bytes(flip_middle(data))
    assert torch.equal(diffkit.load(trained).sample(2, seed=0), diffkit.load(older).sample(2, seed=0))


def test_the_state_of_a_run_is_plain_json(trained):
    state = json.loads((trained / "checkpoints/step-00000030/state.json").read_text())
    assert state["step"] == 30
