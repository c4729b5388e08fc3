import numpy as np
import pytest
from PIL import Image

from diffkit import DiffkitError
from diffkit.sheet import contact_sheet


def tiles(n, height=40, width=40):
    """Tiles of one colour each, none of them white."""
    return [np.full((height, width, 3), (10 + i % 200, i // 200, 255 - i % 200), np.uint8) for i in range(n)]


def page(path):
    with Image.open(path) as picture:
        assert picture.format == "PNG"
        return np.asarray(picture.convert("RGB"))


def places(path, shown):
    """The top left corner (row, column) of each tile on the page."""
    found, pixels = [], page(path)
    for tile in shown:
        rows, columns = np.nonzero((pixels == tile[0, 0]).all(-1))
        assert len(rows) == tile.shape[0] * tile.shape[1]
        found.append((rows.min(), columns.min()))
    return found


def test_every_tile_is_on_the_page_unscaled_in_reading_order(tmp_path):
    shown = tiles(23)
    contact_sheet(shown, [str(i) for i in range(23)], tmp_path / "sheet.png")
    corners = places(tmp_path / "sheet.png", shown)
    assert corners == sorted(corners)


@pytest.mark.parametrize(
    ("n", "height", "width"), [(1, 64, 64), (10, 64, 64), (64, 64, 64), (9, 200, 480), (30, 64, 512)]
)
def test_the_page_is_about_square(tmp_path, n, height, width):
    contact_sheet(tiles(n, height, width), ["a"] * n, tmp_path / "sheet.png")
    rows, columns, _ = page(tmp_path / "sheet.png").shape
    bound = max(2.0, 1.1 * width / height if n == 1 else 0)
    assert 1 / bound < rows / columns < bound


@pytest.mark.parametrize("n", [3, 20, 21])
def test_tiles_that_belong_together_stand_in_one_row(tmp_path, n):
    contact_sheet(tiles(n), ["a"] * n, tmp_path / "sheet.png", group=3)
    rows = [row for row, _ in places(tmp_path / "sheet.png", tiles(n))]
    assert all(len(set(rows[i : i + 3])) == 1 for i in range(0, n, 3))


def test_titles_take_room_only_where_there_are_some(tmp_path):
    contact_sheet(tiles(4), [""] * 4, tmp_path / "bare.png")
    contact_sheet(tiles(4), ["a", "", "", ""], tmp_path / "titled.png")
    assert page(tmp_path / "bare.png").shape[0] < page(tmp_path / "titled.png").shape[0]


@pytest.mark.parametrize(
    "title", ["a title that is far longer than its tile is wide", "two\nlines", "日本 λ Ж é", "\udcff"]
)
def test_no_title_runs_into_the_tile_beside_it(tmp_path, title):
    contact_sheet(tiles(2), [title, ""], tmp_path / "sheet.png", group=2)
    pixels = page(tmp_path / "sheet.png")
    (top, _), (_, right) = places(tmp_path / "sheet.png", tiles(2))
    assert (pixels[: top - 1] != 255).any()
    assert (pixels[: top - 1, right - 2 :] == 255).all()


def test_a_page_that_would_be_enormous_says_how_many_tiles_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr("diffkit.sheet.LARGEST", 10 * 52 * 72)
    contact_sheet(tiles(11), ["a"] * 11, tmp_path / "sheet.png")
    assert len(places(tmp_path / "sheet.png", tiles(10))) == 10
    assert not (page(tmp_path / "sheet.png") == tiles(11)[10][0, 0]).all(-1).any()


def test_the_file_appears_whole_and_alone(tmp_path):
    path = tmp_path / "sheet.png"
    path.write_text("an older sheet")
    contact_sheet(tiles(3), ["a"] * 3, path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_sheet_that_cannot_be_written_is_one_sentence_and_leaves_nothing(tmp_path):
    (tmp_path / "sheet.png").mkdir()
    with pytest.raises(DiffkitError, match=r"sheet\.png cannot be written"):
        contact_sheet(tiles(3), ["a"] * 3, tmp_path / "sheet.png")
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]
    with pytest.raises(DiffkitError, match="No such file"):
        contact_sheet(tiles(3), ["a"] * 3, tmp_path / "nowhere" / "sheet.png")


@pytest.mark.parametrize(
    ("shown", "titles"),
    [
        ([], []),
        (tiles(2), ["a"]),
        ([*tiles(1), *tiles(1, 41)], ["a", "b"]),
        ([tiles(1)[0].astype(np.float32)], ["a"]),
        ([tiles(1)[0][..., 0]], ["a"]),
    ],
)
def test_other_things_than_tiles_are_refused(tmp_path, shown, titles):
    with pytest.raises(ValueError, match="a sheet needs"):
        contact_sheet(shown, titles, tmp_path / "sheet.png")
