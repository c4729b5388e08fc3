import struct
from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from diffkit_video import Video
from PIL import Image

from diffkit import DataSpec, DiffkitError


def write(path, frames, rate, codec="mpeg4", times=None, time_base=None, **options):
    """Write frames (n, height, width, 3); ``times`` in ``time_base`` units where they are uneven."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.options = options
        if time_base:
            stream.codec_context.time_base = time_base
        for k, frame in enumerate(frames):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            if times:
                picture.pts, picture.time_base = times[k], time_base
            container.mux(stream.encode(picture))
        container.mux(stream.encode())


def ramp(n, size=32):
    """Clips whose frame k is flat grey 8k, so that a grey level says which frame it was."""
    return np.stack([np.full((size, size, 3), 8 * k, np.uint8) for k in range(n)])


def which(x):
    """Return the frame numbers of :func:`ramp` in a clip."""
    return ((x[0].mean((1, 2)) + 1) * 127.5 / 8).round().int().tolist()


def blobs(channels, frames, height, width):
    """A smooth bright spot that moves."""
    y, x = torch.meshgrid(torch.linspace(-1, 1, height), torch.linspace(-1, 1, width), indexing="ij")
    at = torch.linspace(-0.5, 0.5, frames)[:, None, None]
    spot = torch.exp(-((y - at) ** 2 + (x + at) ** 2) / 0.2) * 1.6 - 0.8
    return torch.stack([spot * (1 - 0.3 * c) for c in range(channels)])


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
@pytest.mark.parametrize("shape", [(1, 8, 16, 16), (3, 5, 16, 24), (1, 4, 9, 15), (3, 4, 130, 131)])
@pytest.mark.parametrize("rate", [8.0, 24.0])
def test_a_saved_clip_reads_back_as_it_was(tmp_path, shape, suffix, rate):
    spec, video = DataSpec(shape[0], shape[1:], rate=rate), Video()
    x = blobs(*shape)
    saved = {path.suffix: path for path in video.save(x, tmp_path / "clip", spec)}
    back = video.read(saved[suffix], spec)
    assert back.shape == x.shape
    tolerance = 0.1 if shape[0] == 1 or suffix == ".mp4" else 0.25  # a GIF has 256 colours
    assert (back - x).abs().mean() < tolerance / 4
    assert (back - x).abs().max() < tolerance


def test_saving_writes_an_even_playable_mp4_and_a_gif_that_loops(tmp_path):
    spec = DataSpec(1, (8, 9, 15), rate=8.0)
    mp4, gif = Video().save(blobs(1, 8, 9, 15), tmp_path / "three.0001", spec)
    assert (mp4.name, gif.name) == ("three.0001.mp4", "three.0001.gif")
    with av.open(str(mp4)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 8
        assert stream.frames == 8
        assert stream.width % 2 == stream.height % 2 == 0
        assert min(stream.width, stream.height) >= 128
    with Image.open(gif) as picture:
        assert picture.info["loop"] == 0
        assert picture.n_frames == 8


def test_a_gif_lasts_as_long_as_its_rate_says(tmp_path):
    spec = DataSpec(1, (24, 16, 16), rate=24.0)
    _, gif = Video().save(blobs(1, 24, 16, 16), tmp_path / "clip", spec)
    with Image.open(gif) as picture:
        total = 0
        for k in range(picture.n_frames):
            picture.seek(k)
            total += picture.info["duration"]
    assert total == 1000


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv", "a.avi"])
@pytest.mark.parametrize(
    ("rate", "expected"),
    [(24, list(range(6))), (12, [0, 2, 4, 6, 8, 10]), (8, [0, 3, 6, 9, 12, 15]), (48, [0, 0, 1, 1, 2, 2])],
)
def test_reading_resamples_to_the_rate_asked_for(tmp_path, name, rate, expected):
    write(tmp_path / name, ramp(24), 24)
    x = Video().read(tmp_path / name, DataSpec(1, (6, 32, 32), rate=float(rate)))
    assert which(x) == expected


def test_time_stamps_rounded_by_the_container_still_give_every_frame(tmp_path):
    write(tmp_path / "a.mkv", ramp(30), 30)  # matroska rounds 33.3 ms to 33
    x = Video().read(tmp_path / "a.mkv", DataSpec(1, (30, 32, 32), rate=30.0))
    assert which(x) == list(range(30))


def test_uneven_frames_are_shown_for_as_long_as_they_last(tmp_path):
    times = [0, 500, 600, 700, 1500]  # ms
    write(tmp_path / "a.mkv", ramp(5), 10, times=times, time_base=Fraction(1, 1000))
    x = Video().read(tmp_path / "a.mkv", DataSpec(1, (15, 32, 32), rate=10.0))
    assert which(x) == [0, 0, 0, 0, 0, 1, 2, 3, 3, 3, 3, 3, 3, 3, 3]


def test_a_rate_of_nothing_takes_the_frames_as_they_come(tmp_path):
    write(tmp_path / "a.mp4", ramp(6), 24)
    assert which(Video().read(tmp_path / "a.mp4", DataSpec(1, (6, 32, 32)))) == list(range(6))


def test_frames_are_cropped_about_their_centre(tmp_path):
    wide = np.zeros((4, 32, 96, 3), np.uint8)
    wide[:, :, 32:64] = 255  # the middle third
    write(tmp_path / "a.avi", wide, 8)
    x = Video().read(tmp_path / "a.avi", DataSpec(1, (4, 16, 16), rate=8.0))
    assert x[..., 2:-2].min() > 0.9


def test_colours_keep_their_channels(tmp_path):
    red = np.zeros((2, 32, 32, 3), np.uint8)
    red[..., 0] = 200
    write(tmp_path / "a.mp4", red, 8)
    x = Video().read(tmp_path / "a.mp4", DataSpec(3, (2, 32, 32), rate=8.0))
    assert (x.mean((1, 2, 3)) - torch.tensor([200 / 127.5 - 1, -1, -1])).abs().max() < 0.05


def test_a_clip_filmed_upright_is_read_upright(tmp_path):
    """A phone stores frames lying down, and a matrix that turns them by a quarter clockwise."""
    lying = np.zeros((4, 32, 64, 3), np.uint8)
    lying[:, :, 32:] = 255  # the right half, which turns to the bottom
    write(tmp_path / "a.mp4", lying, 8)
    data = bytearray((tmp_path / "a.mp4").read_bytes())
    matrix = struct.pack(">9i", 1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
    turned = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 32 << 16, 0, 1 << 30)
    at = data.index(matrix, data.index(b"tkhd"))
    data[at : at + 36] = turned
    (tmp_path / "b.mp4").write_bytes(data)
    x = Video().read(tmp_path / "b.mp4", DataSpec(1, (4, 64, 32), rate=8.0))
    assert x[0, :, :30].max() < -0.9
    assert x[0, :, 34:].min() > 0.9


def bad_files(folder):
    write(folder / "good.mp4", ramp(8), 8)
    whole = (folder / "good.mp4").read_bytes()
    picture = folder / "picture.png"
    Image.new("RGB", (32, 32)).save(picture)
    cases = {
        "empty.mp4": b"",
        "truncated.mp4": whole[: len(whole) // 2],
        "noise.mp4": np.random.default_rng(0).bytes(5000),
        "text.mkv": b"not a video\n" * 100,
        "picture.mp4": picture.read_bytes(),
        "playlist.mp4": b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\ngood.mp4\n#EXT-X-ENDLIST\n",
    }
    for name, data in cases.items():
        (folder / name).write_bytes(data)
    write(folder / "short.mp4", ramp(3), 8)
    picture.unlink()
    return [*cases, "short.mp4"]


def test_a_file_that_is_no_whole_clip_is_refused_in_words(tmp_path):
    names = bad_files(tmp_path)
    spec = DataSpec(1, (8, 32, 32), rate=8.0)
    assert which(Video().read(tmp_path / "good.mp4", spec)) == list(range(8))
    for name in names:
        with pytest.raises(ValueError, match=r"empty|not a readable|no pictures|cut off|damaged"):
            Video().read(tmp_path / name, spec)


def test_a_clip_cut_off_in_the_middle_is_refused(tmp_path):
    """AVI and Matroska can be read from the start, so a truncated one is a shorter clip."""
    rng = np.random.default_rng(0)
    noisy = rng.integers(0, 255, (16, 32, 32, 3), dtype=np.uint8)
    for name in ("a.avi", "a.mkv"):
        write(tmp_path / name, noisy, 8)
        data = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(ValueError, match=r"cut off|damaged|not a readable"):
            Video().read(tmp_path / name, DataSpec(1, (16, 32, 32), rate=8.0))


@pytest.mark.parametrize(
    ("spec", "x", "says"),
    [
        (DataSpec(1, (4, 8, 8)), torch.zeros(1, 4, 8, 9), "has to be float32"),
        (DataSpec(1, (4, 8, 8)), torch.zeros(1, 4, 8, 8, dtype=torch.float64), "has to be float32"),
        (DataSpec(1, (4, 8, 8)), torch.full((1, 4, 8, 8), float("nan")), "outside"),
        (DataSpec(1, (4, 8, 8)), torch.full((1, 4, 8, 8), 1.5), "outside"),
        (DataSpec(1, (8, 8)), torch.zeros(1, 8, 8), "data of modality video"),
        (DataSpec(2, (4, 8, 8)), torch.zeros(2, 4, 8, 8), "1 or 3 channels"),
    ],
)
def test_check_refuses_what_is_no_clip(spec, x, says):
    with pytest.raises(DiffkitError, match=says):
        Video().check(x, spec)


def test_check_accepts_a_clip():
    Video().check(torch.zeros(3, 4, 8, 8), DataSpec(3, (4, 8, 8)))


@pytest.mark.parametrize("shape", [(1, 8, 16, 16), (3, 16, 300, 200), (1, 1, 8, 8), (3, 30, 20, 40)])
def test_the_sheet_shows_every_clip_as_a_row(tmp_path, shape):
    xs = torch.stack([torch.full(shape, -1.0), torch.full(shape, 1.0)])
    Video().sheet(xs, ["black", "white"], tmp_path / "sheet.png", DataSpec(shape[0], shape[1:], rate=8.0))
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("L"))
    frames, (height, width) = min(shape[1], 8), shape[2:]
    row = (pixels == 0).sum(1).max()  # black in the widest line of the page
    assert row % frames == 0
    assert (pixels == 0).sum() / row / (row / frames) == pytest.approx(height / width, rel=0.05)
