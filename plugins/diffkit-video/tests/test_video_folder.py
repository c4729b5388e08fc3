import numpy as np
import pytest
import torch
from diffkit_video import MovingDigits, Video, VideoFolder

from diffkit import DataSpec, DiffkitError
from diffkit.testing import check_modality


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """Two classes of two clips each: bright and dark."""
    spec = DataSpec(3, (8, 16, 16), rate=8.0)
    for name, level in (("bright", 0.8), ("dark", -0.8)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for k in range(2):
            Video().save(torch.full((3, 8, 16, 16), level), tmp_path / "clips" / name / f"{k}", spec)
            (tmp_path / "clips" / name / f"{k}.gif").unlink()
    return tmp_path / "clips"


def test_classes_are_sub_folders_and_items_are_clips(folder):
    data = VideoFolder(str(folder), frames=8, size=16)
    assert data.modality == "video"
    assert len(data) == 4
    assert data.spec.labels == ("bright", "dark")
    assert data.spec.shape == (8, 16, 16)
    assert data.spec.rate == 8
    for x, label in (data[i] for i in range(4)):
        Video().check(x, data.spec)
        assert (x > 0).all() if label == 0 else (x < 0).all()


def test_options_change_what_is_decoded(folder):
    grey = VideoFolder(str(folder), frames=4, size=12, rate=4, channels=1)
    assert grey[0][0].shape == (1, 4, 12, 12)
    assert VideoFolder(str(folder), frames=4, size=12, rate=4)[0][0].shape == (3, 4, 12, 12)


def test_bad_files_are_skipped_counted_and_named(folder):
    whole = (folder / "bright" / "0.mp4").read_bytes()
    (folder / "bright" / "empty.mp4").write_bytes(b"")
    (folder / "bright" / "cut.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "dark" / "really_text.webm").write_text("hello")
    np.save(folder / "dark" / "array", np.zeros(3))  # not a video's suffix: not looked at
    with pytest.warns(UserWarning, match="skipped 3 of 7 files") as caught:
        data = VideoFolder(str(folder), frames=8, size=16)
    assert len(data) == 4
    assert set(data.skipped) == {"bright/empty.mp4", "bright/cut.mp4", "dark/really_text.webm"}
    assert "empty" in data.skipped["bright/empty.mp4"]
    text = str(caught[0].message)
    assert all(name in text for name in data.skipped)


def test_a_folder_of_clips_that_are_all_too_short_says_so(folder):
    with pytest.raises(DiffkitError, match="8 of 16 frames at 8 a second"):
        VideoFolder(str(folder), size=16)


@pytest.mark.parametrize("options", [{"frames": 0}, {"size": 0}, {"rate": 0}, {"rate": float("nan")}, {"channels": 2}])
def test_options_out_of_range_are_refused_before_anything_is_read(tmp_path, options):
    with pytest.raises(DiffkitError, match=next(iter(options))):
        VideoFolder(str(tmp_path), **options)


def test_both_data_sets_keep_the_contract(folder):
    check_modality(Video(), MovingDigits(clips=100))
    check_modality(Video(), VideoFolder(str(folder), frames=8, size=16))
    check_modality(Video(), VideoFolder(str(folder), frames=5, size=33, rate=5, channels=1))
