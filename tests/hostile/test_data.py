"""Archives, bombs and pickles as data: none is unpacked, unfolded or run; each is skipped or refused."""

import io
import pickle
import struct
import tarfile
import zipfile
import zlib

import pytest
from PIL import Image

import diffkit
from diffkit import DiffkitError

pytestmark = pytest.mark.filterwarnings("ignore")


class Payload:
    """A pickle that makes a file when it is read."""

    def __reduce__(self):
        return exec, ("import os; open(os.environ['CANARY_OWNED'], 'w')",)


def zipped(name="a.png", data=b"x", suffix=""):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
    return file.getvalue()


def tarred(name="../../elsewhere/canary.txt", link=""):
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        entry = tarfile.TarInfo(name)
        if link:
            entry.type, entry.linkname = tarfile.SYMTYPE, link
        archive.addfile(entry, io.BytesIO())
    return file.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, rows=b"", text=b""):
    """A PNG that claims a size, with rows that unfold, or a compressed text that does."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    texts = chunk(b"zTXt", b"k\0\0" + zlib.compress(text)) if text else b""
    return b"\x89PNG\r\n\x1a\n" + header + texts + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def picture():
    file = io.BytesIO()
    Image.new("L", (8, 8)).save(file, "PNG")
    return file.getvalue()


def wav(frames, rate=16000, channels=1, size=64):
    form = struct.pack("<HHIIHH", 1, channels, rate, 2 * rate * channels & 0xFFFFFFFF, 2 * channels & 0xFFFF, 16)
    body = b"WAVEfmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", frames) + b"\0" * size
    return b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + body


PLAYLIST = b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
ARCHIVES = {
    "a zip as a picture": ("image_folder", "a.png", zipped()),
    "a zip bomb as a picture": ("image_folder", "a.png", zipped(data=b"\0" * 50_000_000)),
    "a tar with a way out as a picture": ("image_folder", "a.png", tarred()),
    "a tar with a link as a clip": ("video_folder", "a.mp4", tarred("a", "/etc/passwd")),
    "a picture that claims 10^9 pixels": ("image_folder", "a.png", png(30_000, 30_000, b"\0" * 10)),
    "a picture that claims 2^62 pixels": ("image_folder", "a.png", png(2**31 - 1, 2**31 - 1, b"")),
    "a picture whose rows unfold": ("image_folder", "a.png", png(8, 8, b"\0" * 300_000_000)),
    "a picture whose text unfolds": ("image_folder", "a.png", png(8, 8, b"\0" * 72, b"a" * 300_000_000)),
    "a sound of 2^32 bytes": ("audio_folder", "a.wav", wav(2**32 - 1)),
    "a sound of 65,535 channels": ("audio_folder", "a.wav", wav(64, channels=65535)),
    "a sound at 2^32 samples a second": ("audio_folder", "a.wav", wav(64, rate=2**32 - 1)),
    "a play list as a clip": ("video_folder", "a.mp4", PLAYLIST),
    "junk as a clip": ("video_folder", "a.mp4", b"\0\0\0\x18ftypmp42" + b"\xff" * 1000),
    **{
        f"a pickle as {name}": (kind, name, pickle.dumps(Payload()))
        for kind, name in (("image_folder", "a.png"), ("audio_folder", "a.wav"), ("video_folder", "a.mp4"))
    },
}


@pytest.mark.parametrize("name", ARCHIVES)
def test_a_file_that_is_not_what_it_seems_is_not_taken_for_data(attempt, tmp_path, monkeypatch, name):
    kind, file, data = ARCHIVES[name]
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / file).write_bytes(data)
    options = {"image_folder": {"size": 8}, "audio_folder": {"seconds": 0.01}, "video_folder": {"size": 8, "frames": 2}}
    attempt(lambda: diffkit.build("data", {"name": kind, "path": str(folder), **options[kind]}))
    assert sorted(path.name for path in folder.iterdir()) == [file]


@pytest.mark.parametrize("data", [zipped(), tarred(), pickle.dumps(Payload())], ids=["zip", "tar", "pickle"])
@pytest.mark.parametrize("what", ["run", "data"])
def test_an_archive_in_a_folder_s_place_is_refused(refused, tmp_path, data, what):
    path = tmp_path / "archive"
    path.write_bytes(data)
    if what == "run":
        assert "is not a run" in refused(diffkit.load, path)
    else:
        assert "is not a folder" in refused(diffkit.build, "data", {"name": "image_folder", "path": str(path)})


def test_good_files_beside_bad_ones_are_still_data(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "good.png").write_bytes(picture())
    (tmp_path / "bad.png").write_bytes(png(30_000, 30_000))
    try:
        data = diffkit.build("data", {"name": "image_folder", "path": str(tmp_path), "size": 8})
    except DiffkitError as error:
        raise AssertionError("the good one is left out") from error
    assert len(data) == 1
