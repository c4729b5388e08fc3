import os
import pickle
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
import torch

from diffkit import DataSpec, DiffkitError, FolderData

SPEC = DataSpec(1, (2, 3))
SUFFIXES = (".raw", ".bin")


def raw(path):
    """The format of these tests: six bytes."""
    return np.frombuffer(path.read_bytes(), np.uint8).reshape(1, 2, 3)


def put(path, value=7):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes([value] * 6))
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def load(folder, decode=raw, **how):
    return FolderData(folder, SUFFIXES, decode, how.pop("spec", SPEC), **how)


def quietly(folder, decode=raw, **how):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return load(folder, decode, **how)


def labels(data):
    return [label for _, label in data.__getitems__(list(range(len(data))))]


def stored(cache):
    return sorted(path.name for path in (cache / "decoded").iterdir())


@pytest.fixture(autouse=True)
def no_warning_unless_expected():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


# What is found


def test_sub_folders_are_classes_in_the_order_of_their_names(folder):
    for name in ("wren/b.raw", "wren/a.RAW", "owl/1.bin", "owl/deep/er/2.raw"):
        put(folder / name)
    data = load(folder)
    assert data.spec == DataSpec(1, (2, 3), ("owl", "wren"))
    assert [path.relative_to(folder).as_posix() for path in data.files] == [
        *("owl/1.bin", "owl/deep/er/2.raw"),
        *("wren/a.RAW", "wren/b.raw"),
    ]
    assert labels(data) == [0, 0, 1, 1]


def test_files_at_the_top_have_no_labels(folder):
    put(folder / "b.raw", 1), put(folder / "a.raw", 2)
    data = load(folder)
    assert (len(data), data.spec.labels, labels(data)) == (2, (), [0, 0])
    assert data.files == [folder / "a.raw", folder / "b.raw"]


def test_the_full_range_of_a_type_stands_for_minus_one_to_one(folder):
    (folder / "a.raw").write_bytes(bytes([0, 51, 102, 153, 204, 255]))
    assert torch.allclose(load(folder)[0][0], torch.linspace(-1, 1, 6).view(1, 2, 3))
    (folder / "a.raw").write_bytes(np.array([-32768, 0, 32767], np.int16).tobytes())
    sound = load(folder, lambda path: np.fromfile(path, np.int16)[None], spec=DataSpec(1, (3,)), dtype="int16")
    assert sound[0][0].tolist() == [[-1, 0, 32767 / 32768]]


def test_a_batch_is_its_items(folder):
    for value in range(40):
        put(folder / f"class {value % 3}" / f"{value}.raw", value)
    data = load(folder)
    indices = [31, 0, 7, 7, -1]
    for (x, label), i in zip(data.__getitems__(indices), indices, strict=True):
        assert torch.equal(x, data[i][0])
        assert label == data[i][1]
    with pytest.raises(IndexError):
        data[40]


def test_an_item_may_be_changed_without_harm(folder):
    put(folder / "a.raw")
    data = load(folder)
    data[0][0].zero_()
    assert data[0][0].abs().min() > 0


@pytest.mark.parametrize("name", ["café/鳥 1.raw", "a b/c'd\"e.raw", "x,y=z/[1].raw", os.fsdecode(b"\xff/\xfe.raw")])
def test_any_name_is_fine(folder, name):
    put(folder / name)
    data = load(folder)
    assert data.spec.labels == (name.partition("/")[0],)
    assert load(folder).files == [folder / name]


def test_hidden_files_and_folders_are_passed_over(folder):
    for name in ("a/1.raw", "a/._1.raw", ".hidden/2.raw", "a/.thumbs/3.raw"):
        put(folder / name)
    data = load(folder)
    assert (len(data), data.spec.labels) == (1, ("a",))


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    put(folder / "a/1.raw")
    put(tmp_path / "elsewhere/2.raw")
    (folder / "b").symlink_to(tmp_path / "elsewhere")
    (folder / "c").symlink_to(tmp_path / "elsewhere")
    (folder / "a/link.raw").symlink_to(tmp_path / "elsewhere/2.raw")
    (folder / "a/round").symlink_to(folder)
    (tmp_path / "elsewhere/back").symlink_to(folder / "a")
    names = [path.relative_to(folder).as_posix() for path in load(folder).files]
    assert {"a/1.raw", "a/link.raw", "b/2.raw", "c/2.raw"} <= set(names)
    assert len(names) == len(set(names)) < 50


# What is left out is said


def test_files_that_cannot_be_decoded_are_skipped_counted_and_named(folder):
    for value in range(4):
        put(folder / f"a/{value}.raw", value)
    (folder / "a/empty.raw").touch()
    (folder / "a/long.raw").write_bytes(bytes(12))
    (folder / "a/broken.raw").symlink_to(folder / "gone.raw")
    with pytest.warns(
        UserWarning, match=r"skipped 3 of 7 files: a/broken\.raw \(it is not a file.*a/empty\.raw \(Value"
    ):
        data = load(folder)
    assert list(data.skipped) == ["a/broken.raw", "a/empty.raw", "a/long.raw"]
    assert [int((data[i][0][0, 0, 0] + 1) * 127.5 + 0.5) for i in range(4)] == [0, 1, 2, 3]
    with pytest.warns(UserWarning, match="skipped 3 of 7"):
        assert load(folder, decode=None).skipped == data.skipped  # from the cache, and said again


def test_a_decoder_that_returns_another_form_skips_the_file(folder):
    put(folder / "a.raw", 0), put(folder / "b.raw", 1), put(folder / "c.raw", 2)
    forms = {0: lambda x: x, 1: lambda x: x[0], 2: lambda x: x.astype(np.int16)}
    data = quietly(folder, lambda path: forms[path.read_bytes()[0]](raw(path)))
    assert len(data) == 1
    assert "uint8 (2, 3) instead of uint8 (1, 2, 3)" in data.skipped["b.raw"]
    assert "int16" in data.skipped["c.raw"]


def test_a_class_of_which_nothing_is_left_is_no_class(folder):
    put(folder / "b/1.raw"), put(folder / "c/1.raw")
    put(folder / "a/1.raw").write_bytes(b"")
    with pytest.warns(UserWarning, match="left out a, where no file could be read"):
        data = load(folder)
    assert (data.spec.labels, labels(data)) == (("b", "c"), [0, 1])


def test_files_of_other_types_are_counted(folder):
    for name in ("a/1.raw", "a/2.heic", "a/3.HEIC", "notes.txt", "README"):
        put(folder / name)
    with pytest.warns(UserWarning, match=r"passed over 4 files of other types \(\.heic, \.txt, no suffix\)"):
        assert len(load(folder)) == 1


def test_a_pipe_is_skipped_and_not_waited_for(folder):
    put(folder / "a.raw")
    os.mkfifo(folder / "b.raw")
    assert "not a file" in quietly(folder).skipped["b.raw"]


# What cannot be is one sentence


def test_folders_without_anything_to_read_are_refused(folder, tmp_path):
    for path, said in (
        ("", "data.path=FOLDER"),
        (tmp_path / "nowhere", "is not a folder"),
        (put(tmp_path / "file.raw"), "is not a folder"),
        (folder, "looks for .bin, .raw"),
    ):
        with pytest.raises(DiffkitError) as raised:
            load(path)
        assert said in str(raised.value)
    put(folder / "a.heic")
    with pytest.raises(DiffkitError, match=r"1 files of other types \(\.heic\)"):
        load(folder)


def test_files_beside_classes_are_refused(folder):
    put(folder / "a.raw"), put(folder / "b/1.raw"), put(folder / "c/1.raw")
    with pytest.raises(DiffkitError, match="1 files beside 2 folders of classes"):
        load(folder)


def test_a_folder_without_one_readable_file_says_why_and_stores_nothing(folder, cache):
    put(folder / "a.raw").write_bytes(b"")
    with pytest.raises(DiffkitError, match=r"none of the 1 files .* a\.raw \(ValueError"):
        load(folder)
    assert stored(cache) == []


def test_an_unreadable_folder_is_an_error_and_not_an_empty_class(folder, monkeypatch):
    put(folder / "a/1.raw"), put(folder / "b/1.raw")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path) == str(folder / "b"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DiffkitError, match=r"b cannot be read \(Permission denied\)"):
        load(folder)


# The cache


def test_files_are_decoded_once(folder, cache):
    put(folder / "a.raw"), put(folder / "b.raw")
    first = load(folder)
    again = load(folder, decode=None)
    assert torch.equal(first[1][0], again[1][0])
    assert len(stored(cache)) == 1


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: put(folder / "a.raw", 9),
        lambda folder: put(folder / "c.raw", 9),
        lambda folder: (folder / "b.raw").unlink(),
        lambda folder: (folder / "b.raw").rename(folder / "d.raw"),
        lambda folder: (folder / "a.raw").chmod(0o600),
    ],
)
def test_a_change_in_the_folder_decodes_anew(folder, change):
    put(folder / "a.raw"), put(folder / "b.raw")
    load(folder)
    time.sleep(0.02)
    change(folder)
    asked = []
    load(folder, lambda path: asked.append(path) or raw(path))
    assert asked


def test_what_else_changes_the_decoding_decodes_anew(folder, cache):
    put(folder / "a.raw")
    load(folder)
    load(folder, salt="decoder 2")
    load(folder, lambda path: raw(path).reshape(1, 6), spec=DataSpec(1, (6,)))
    load(folder, lambda path: raw(path).astype(np.int16), dtype="int16")
    assert len(stored(cache)) == 4


def test_another_process_is_sent_the_place_of_the_items_and_not_the_items(folder):
    (folder / "a.raw").write_bytes(bytes(range(250)) * 400)
    data = load(folder, lambda path: np.fromfile(path, np.uint8)[None], spec=DataSpec(1, (100_000,)))
    sent = pickle.dumps(data)
    assert len(sent) < 10_000
    assert torch.equal(pickle.loads(sent)[0][0], data[0][0])


@pytest.mark.parametrize("damage", ["truncated", "lengthened", "no index", "half an index"])
def test_a_damaged_cache_is_made_again(folder, cache, damage):
    put(folder / "a.raw"), put(folder / "b.raw")
    load(folder)
    (place,) = (cache / "decoded").iterdir()
    items, index = place / "items", place / "index.json"
    match damage:
        case "truncated":
            os.truncate(items, 7)
        case "lengthened":
            os.truncate(items, 100)
        case "no index":
            index.unlink()
        case "half an index":
            index.write_text(index.read_text()[:10])
    assert len(load(folder)) == 2
    assert len(load(folder, decode=None)) == 2


def test_a_cache_that_cannot_be_made_is_one_sentence(folder, cache):
    put(folder / "a.raw")
    cache.write_text("a file where the folder should be")
    with pytest.raises(DiffkitError, match="set the environment variable DIFFKIT_CACHE"):
        load(folder)


def test_a_full_disk_is_one_sentence_and_leaves_nothing(folder, cache):
    resource = pytest.importorskip("resource")
    for i in range(64):
        (folder / f"{i:02}.raw").write_bytes(bytes(1000))
    spec = DataSpec(1, (1000,))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))  # a file cannot grow further, as on a full disk
    try:
        with pytest.raises(DiffkitError, match=r"cannot be kept in .*File too large"):
            load(folder, lambda path: np.fromfile(path, np.uint8)[None], spec=spec)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert stored(cache) == []


def test_a_stop_while_decoding_leaves_nothing(folder, cache):
    for i in range(200):
        put(folder / f"{i}.raw")
    begun = []

    def stop(path):
        begun.append(path)
        if len(begun) > 20:
            raise KeyboardInterrupt
        return raw(path)

    with pytest.raises(KeyboardInterrupt):
        load(folder, stop)
    assert stored(cache) == []
    assert len(begun) < 200
    assert not [t for t in threading.enumerate() if t.name.startswith("ThreadPool")]


def test_items_stay_in_order_however_long_each_takes(folder):
    for i in range(100):
        put(folder / f"{i:03}.raw", i)

    def slowly(path):
        time.sleep(0.005 * (int(path.stem) % 3))
        return raw(path)

    data = load(folder, slowly)
    assert [round((data[i][0][0, 0, 0].item() + 1) * 127.5) for i in range(100)] == list(range(100))


def test_two_processes_at_once_store_one_array_and_read_the_same(folder, cache):
    for i in range(100):
        put(folder / f"{i:03}.raw", i)
    script = f"""
import sys, time
import numpy as np
from diffkit import DataSpec, FolderData
def decode(path):
    time.sleep(0.002)
    return np.frombuffer(path.read_bytes(), np.uint8).reshape(1, 2, 3)
print("ready", flush=True)
sys.stdin.readline()
data = FolderData({str(folder)!r}, (".raw",), decode, DataSpec(1, (2, 3)))
print(len(data), float(sum(data[i][0].sum() for i in range(100))))
"""
    pipe = subprocess.PIPE
    both = [subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe, text=True) for _ in range(2)]
    for process in both:
        assert process.stdout.readline() == "ready\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said[0] == said[1] != ""
    assert len(stored(cache)) == 1
