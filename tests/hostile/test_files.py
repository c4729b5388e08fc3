"""Strangers' files in a run: pickles by any name, headers that lie, links, and YAML that unfolds."""

import hashlib
import json
import os
import pickle
import struct

import pytest
import yaml

import diffkit
from diffkit.run.train import resume


class Payload:
    """A pickle that makes a file when it is read."""

    def __reduce__(self):
        return exec, ("import os; open(os.environ['CANARY_OWNED'], 'w')",)


def seal(folder):
    """Write the checksums of what is in a checkpoint, as whoever made it could."""
    names = [path.name for path in sorted(folder.iterdir()) if path.name != "SHA256SUMS"]
    sums = [f"{hashlib.sha256((folder / name).read_bytes()).hexdigest()}  {name}\n" for name in names]
    (folder / "SHA256SUMS").write_text("".join(sums))


def both(run):
    """Sample from a run, and go on training it: what either says first is raised."""
    diffkit.load(run, "device=cpu")
    resume(run, "train.steps=31")


TOP = ("config.yaml", "data.json", "plugins.lock")
OF_A_CHECKPOINT = ("model.safetensors", "ema.safetensors", "optimizer.safetensors", "state.json", "SHA256SUMS")
PICKLES = [(name, protocol) for name in TOP + OF_A_CHECKPOINT for protocol in (0, 2, 4)]


@pytest.mark.parametrize(("name", "protocol"), PICKLES)
def test_a_pickle_in_a_file_s_place_is_never_read_as_one(refused, trained, name, protocol):
    data = pickle.dumps(Payload(), protocol)
    if name in TOP:
        (trained / name).write_bytes(data)
        refused(resume, trained, "train.steps=31")
        return
    for checkpoint in trained.glob("checkpoints/*"):
        (checkpoint / name).write_bytes(data)
        if name != "SHA256SUMS":
            seal(checkpoint)
    assert "no valid checkpoint" in refused(resume, trained, "train.steps=31")


@pytest.mark.parametrize(
    "name", ["checkpoints/model.pt", "checkpoints/step-00000099", "sitecustomize.py", "conftest.pkl"]
)
def test_a_pickle_beside_them_is_passed_over(attempt, trained, name):
    (trained / name).write_bytes(pickle.dumps(Payload()))
    assert attempt(both, trained) is None


def packed(header, data=b"\0" * 64, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def tensor(dtype="F32", shape=(4,), offsets=(0, 16)):
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


HEADERS = {
    "nothing": b"",
    "seven bytes": b"\0" * 7,
    "a length and no header": struct.pack("<Q", 100),
    "a header longer than the file": packed({}, length=10**6),
    "a header of 2^63 bytes": packed({}, length=2**63),
    "a header of 2^64 - 1 bytes": packed({}, length=2**64 - 1),
    "no JSON": packed(b"{x"),
    "a list": packed([]),
    "deep JSON": packed(b'{"a":' * 10_000 + b"1" + b"}" * 10_000),
    "overlapping tensors": packed({"a": tensor(), "b": tensor(offsets=(8, 24))}, b"\0" * 24),
    "a hole": packed({"a": tensor(), "b": tensor(offsets=(32, 48))}, b"\0" * 48),
    "more data than tensors": packed({"a": tensor()}),
    "offsets beyond the file": packed({"a": tensor(offsets=(0, 2**40), shape=(2**38,))}),
    "offsets of 2^64": packed({"a": tensor(offsets=(0, 2**64))}),
    "negative offsets": packed({"a": tensor(offsets=(-16, 0))}),
    "offsets that are NaN": packed(b'{"a":{"dtype":"F32","shape":[4],"data_offsets":[NaN,16]}}'),
    "offsets that are text": packed({"a": {**tensor(), "data_offsets": ["0", "16"]}}),
    "offsets the wrong way round": packed({"a": tensor(offsets=(16, 0))}),
    "a negative shape": packed({"a": tensor(shape=(-4,))}),
    "a shape that overflows": packed({"a": tensor(shape=(2**33, 2**33))}),
    "a shape of another size": packed({"a": tensor(shape=(5,))}, b"\0" * 16),
    "a type there is not": packed({"a": tensor("F33")}, b"\0" * 16),
    "a type of another size": packed({"a": tensor("F64")}, b"\0" * 16),
    "the same name twice": packed(b'{"a":%s,"a":%s}' % ((json.dumps(tensor()).encode(),) * 2), b"\0" * 16),
    "names of no parameter": packed({"../../x": tensor()}, b"\0" * 16),
    "metadata that is a tensor": packed({"__metadata__": tensor()}),
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_that_lies_is_refused(refused, trained, header):
    for checkpoint in trained.glob("checkpoints/*"):
        (checkpoint / "model.safetensors").write_bytes(HEADERS[header])
        seal(checkpoint)
    refused(resume, trained, "train.steps=31")
    refused(diffkit.load, trained, "device=cpu")


def link(place, target):
    place.unlink() if place.is_file() else os.system(f"rm -r '{place}'")
    place.symlink_to(target)


LINKS = {
    "a checkpoint's file": lambda run, canary: link(run / "checkpoints/step-00000030/model.safetensors", canary),
    "its list of checksums": lambda run, canary: link(run / "checkpoints/step-00000030/SHA256SUMS", canary),
    "an endless file": lambda run, canary: link(run / "checkpoints/step-00000030/state.json", "/dev/zero"),
    "a checkpoint": lambda run, canary: link(run / "checkpoints/step-00000030", canary.parent),
    "all checkpoints": lambda run, canary: link(run / "checkpoints", canary.parent),
    "the samples": lambda run, canary: link(run / "samples", canary.parent),
    "the numbers": lambda run, canary: link(run / "metrics.jsonl", canary),
    "the lock": lambda run, canary: link(run / ".lock", canary),
    "the config": lambda run, canary: link(run / "config.yaml", canary),
    "what was kept": lambda run, canary: link(run / "sampling.yaml", canary),
    "the spec": lambda run, canary: link(run / "data.json", canary),
}


@pytest.mark.parametrize("name", LINKS)
def test_a_link_is_not_followed(refused, trained, name):
    LINKS[name](trained, refused.canary)
    refused(resume, trained, "train.steps=31")
    refused(diffkit.load, trained, "device=cpu")


def test_nor_is_a_pipe_waited_for(refused, trained):
    (trained / "data.json").unlink()
    os.mkfifo(trained / "data.json")
    assert "is a link or a device" in refused(diffkit.load, trained)


@pytest.mark.parametrize("name", ["../../../elsewhere/canary.txt", "/etc/passwd", "a/../../x", "..", "a\\b", "", "."])
def test_nor_does_a_list_of_checksums_lead_elsewhere(refused, trained, name):
    for sums in trained.glob("checkpoints/*/SHA256SUMS"):
        sums.write_text(f"{sums.read_text()}{'0' * 64}  {name}\n")
    assert "no valid checkpoint" in refused(resume, trained, "train.steps=31")


LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]\n" for i in range(12)
)
BOMBS = {
    "a billion laughs": LAUGHS,
    "a label that holds itself": "sample: &s {n: 1, label: [*s]}\n",
    "merge keys": "".join(
        f"m{i}: &m{i} {{<<: [{', '.join(f'*m{k}' for k in range(i)) or '{a: 1}'}]}}\n" for i in range(30)
    ),
    "deep nesting": "[" * 100_000,
    "deep maps": "".join(f"{' ' * i}a:\n" for i in range(3000)),
    "a huge number": "seed: " + "9" * 100_000,
    "a number of base 60": "seed: 1" + ":59" * 50_000,
    "eleven megabytes": "x: " + "y" * 11_000_000,
    "a date there is not": "out: 2001-99-99",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_yaml_that_unfolds_does_not(refused, trained, bomb):
    config = yaml.safe_load((trained / "config.yaml").read_text())
    for key in ("seed", "out", "sample") if bomb != "eleven megabytes" else ():
        if f"{key}:" in BOMBS[bomb]:
            del config[key]
    (trained / "config.yaml").write_text(yaml.safe_dump(config) + BOMBS[bomb])
    refused(diffkit.load, trained)


@pytest.mark.parametrize("bomb", BOMBS)
def test_nor_does_that_which_was_kept(refused, trained, bomb):
    (trained / "sampling.yaml").write_text(BOMBS[bomb])
    refused(diffkit.load, trained)


@pytest.mark.parametrize("name", ["data.json", "plugins.lock"])
@pytest.mark.parametrize("text", ["[" * 100_000, '{"a": ' + "9" * 100_000 + "}", '"' + "x" * 11_000_000 + '"'])
def test_nor_does_json(refused, trained, name, text):
    (trained / name).write_text(text)
    refused(diffkit.load, trained)


STATES = {
    "another shape of everything": {"step": 30, "optimizer": []},
    "moments of nothing": {"step": 30, "optimizer": {"plain": {"0": {"x": 1}}, "groups": []}},
    "groups of text": {"step": 30, "optimizer": {"plain": {}, "groups": ["a"]}},
    "a negative step": {"step": -5},
    "a step of 10^30": {"step": 10**30},
    "no step": {"optimizer": None},
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_that_makes_no_sense_is_refused(refused, trained, state):
    for checkpoint in trained.glob("checkpoints/*"):
        (checkpoint / "state.json").write_text(json.dumps(STATES[state]))
        seal(checkpoint)
    refused(resume, trained, "train.steps=31")
