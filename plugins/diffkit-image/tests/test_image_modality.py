import numpy as np
import PIL.Image
import pytest
import torch
from diffkit_image import Digits, Image, ImageFolder
from diffkit_image.image import LARGEST
from sklearn.datasets import load_sample_images

from diffkit import DataSpec, DiffkitError, generator
from diffkit.testing import check_modality

GREY, COLOUR = DataSpec(1, (8, 8)), DataSpec(3, (8, 8))
IMAGE = Image()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIFFKIT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def photograph():
    """A real photograph, 640 x 427."""
    return PIL.Image.fromarray(load_sample_images().images[0])


def halves(left, right, size=(8, 8), mode="RGB"):
    """A picture of two colours."""
    picture = PIL.Image.new(mode, size, right)
    picture.paste(left, (0, 0, size[0] // 2, size[1]))
    return picture


def test_the_modality_keeps_its_contract_on_digits():
    check_modality(IMAGE, Digits(), tolerance=1 / 255)


def test_the_modality_keeps_its_contract_on_a_folder(tmp_path, photograph):
    for i in range(3):
        (tmp_path / f"class {i}").mkdir()
        photograph.rotate(90 * i).save(tmp_path / f"class {i}" / "a.jpg")
    check_modality(IMAGE, ImageFolder(str(tmp_path), size=32), tolerance=1e-6)


@pytest.mark.parametrize("spec", [GREY, COLOUR, DataSpec(3, (5, 9))])
def test_what_eight_bits_hold_is_saved_and_read_without_loss(tmp_path, spec):
    x = torch.randint(256, (spec.channels, *spec.shape), generator=generator("test")) / 127.5 - 1
    (path,) = IMAGE.save(x, tmp_path / "x", spec)
    assert torch.equal(IMAGE.read(path, spec), x)


def test_values_beyond_the_range_become_black_and_white(tmp_path):
    x = torch.tensor([[[-9.0, 9.0]]])
    (path,) = IMAGE.save(x, tmp_path / "x", DataSpec(1, (1, 2)))
    assert IMAGE.read(path, DataSpec(1, (1, 2))).tolist() == [[[-1, 1]]]


def test_a_picture_that_is_not_finite_is_not_saved(tmp_path):
    with pytest.raises(DiffkitError, match="not finite"):
        IMAGE.save(torch.full((1, 8, 8), float("nan")), tmp_path / "x", GREY)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [s for s in Image.suffixes if s != ".pgm"])
def test_every_suffix_is_read(tmp_path, suffix):
    path = tmp_path / f"x{suffix}"
    halves("black", "white", (64, 64)).save(path)
    x = IMAGE.read(path, COLOUR)
    assert (x[..., 0] < -0.95).all()
    assert (x[..., -1] > 0.95).all()


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "CMYK", "YCbCr", "LA", "RGBA", "PA", "I;16"])
@pytest.mark.parametrize("spec", [GREY, COLOUR])
def test_every_kind_of_pixel_becomes_the_same_picture(tmp_path, mode, spec):
    grey = halves(0, 255, mode="L")
    path = tmp_path / ("x.png" if mode not in ("CMYK", "YCbCr") else "x.tif")
    if mode == "I;16":
        PIL.Image.fromarray(np.asarray(grey, np.uint16) * 257).save(path)
    elif mode == "PA":
        grey.convert("RGBA").quantize(4).save(path)
    else:
        grey.convert("RGB").convert(mode).save(path)
    expected = (torch.arange(8) >= 4).float() * 2 - 1
    assert torch.allclose(IMAGE.read(path, spec), expected.expand(spec.channels, 8, 8), atol=0.01)


def test_what_is_transparent_lies_on_white(tmp_path):
    halves((255, 0, 0, 0), (255, 0, 0, 255), mode="RGBA").save(tmp_path / "x.png")
    x = IMAGE.read(tmp_path / "x.png", COLOUR)
    assert x[:, 0, 0].tolist() == [1, 1, 1]
    assert x[:, 0, 7].tolist() == [1, -1, -1]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_photographs_are_turned_upright(tmp_path, photograph, orientation):
    undo = {
        1: [],
        2: [PIL.Image.Transpose.FLIP_LEFT_RIGHT],
        3: [PIL.Image.Transpose.ROTATE_180],
        4: [PIL.Image.Transpose.FLIP_TOP_BOTTOM],
        5: [PIL.Image.Transpose.TRANSPOSE],
        6: [PIL.Image.Transpose.ROTATE_90],
        7: [PIL.Image.Transpose.TRANSVERSE],
        8: [PIL.Image.Transpose.ROTATE_270],
    }
    turned = photograph
    for transpose in undo[orientation]:
        turned = turned.transpose(transpose)
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    turned.save(tmp_path / "turned.png", exif=exif)
    photograph.save(tmp_path / "upright.png")
    spec = DataSpec(3, (32, 32))
    turned, upright = IMAGE.read(tmp_path / "turned.png", spec), IMAGE.read(tmp_path / "upright.png", spec)
    assert (turned - upright).abs().max() <= 2 / 127.5


def test_the_centre_is_kept_and_the_aspect_too(tmp_path):
    wide = PIL.Image.new("L", (80, 40), 0)
    wide.paste(255, (20, 0, 60, 40))  # exactly the central square
    wide.save(tmp_path / "wide.png")
    assert (IMAGE.read(tmp_path / "wide.png", GREY)[..., 1:-1] > 0.99).all()
    assert IMAGE.read(tmp_path / "wide.png", DataSpec(1, (4, 8)))[..., 0].max() == -1


def test_fine_patterns_are_averaged_and_not_sampled(tmp_path):
    stripes = np.zeros((64, 64), np.uint8)
    stripes[:, ::2] = 255
    PIL.Image.fromarray(stripes).save(tmp_path / "x.png")
    assert IMAGE.read(tmp_path / "x.png", GREY).abs().max() < 0.05


def test_a_large_jpeg_is_read_at_a_fraction_of_its_size_without_a_visible_difference(tmp_path, photograph):
    large = photograph.resize((2560, 1708), PIL.Image.Resampling.BICUBIC)
    large.save(tmp_path / "x.jpg", quality=95)
    large.save(tmp_path / "x.png")
    spec = DataSpec(3, (64, 64))
    jpeg, png = (IMAGE.read(tmp_path / name, spec) for name in ("x.jpg", "x.png"))
    assert (jpeg - png).square().mean().sqrt() < 0.03


@pytest.mark.parametrize(("side", "said"), [(int(LARGEST**0.5) + 1, "64 million"), (20_000, "64 million")])
def test_a_small_file_with_too_many_pixels_is_refused_before_it_is_decoded(tmp_path, monkeypatch, side, said):
    path = tmp_path / "bomb.png"
    PIL.Image.new("1", (side, side)).save(path)
    assert path.stat().st_size < 100_000
    monkeypatch.setattr(PIL.Image.Image, "load", lambda self: pytest.fail("it was decoded"))
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("it was decoded"))
    with pytest.raises(DiffkitError, match=said):
        IMAGE.read(path, GREY)


def test_files_that_are_no_pictures_are_refused(tmp_path, photograph):
    (tmp_path / "empty.png").touch()
    (tmp_path / "text.png").write_text("this is not a picture")
    PIL.Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    for name, said in (("empty.png", "empty"), ("text.png", "not a picture"), ("float.tif", "32 bits")):
        with pytest.raises(DiffkitError, match=said):
            IMAGE.read(tmp_path / name, GREY)
    for name in ("cut.jpg", "cut.png", "cut.webp", "cut.gif", "cut.tif"):
        path = tmp_path / name
        photograph.save(path)
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
        with pytest.raises(Exception):  # noqa: B017, PT011 - each decoder has its own
            IMAGE.read(path, GREY)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(8, 8), "shape"),
        (torch.zeros(3, 8, 8), "shape"),
        (torch.full((1, 8, 8), 2.0), "scale them"),
        (torch.full((1, 8, 8), float("inf")), "not finite"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), "divide by 127.5"),
    ],
)
def test_check_says_what_is_wrong(x, said):
    with pytest.raises(DiffkitError, match=said):
        IMAGE.check(x, GREY)


def test_two_channels_are_no_picture(tmp_path):
    with pytest.raises(DiffkitError, match="1 for grey or 3 for RGB"):
        IMAGE.check(torch.zeros(2, 8, 8), DataSpec(2, (8, 8)))


@pytest.mark.parametrize(("size", "shown"), [(8, 64), (28, 84), (64, 64), (256, 256), (1024, 256)])
def test_pictures_on_a_sheet_are_of_a_size_to_look_at(tmp_path, size, shown):
    spec = DataSpec(3, (size, size))
    IMAGE.sheet(torch.full((1, 3, size, size), -1.0), [""], tmp_path / "sheet.png", spec)
    with PIL.Image.open(tmp_path / "sheet.png") as page:
        black = np.asarray(page).max(-1) == 0
    assert black.sum() == shown * shown


def test_small_pictures_are_enlarged_pixel_by_pixel(tmp_path):
    x, _ = Digits()[0]
    IMAGE.sheet(x[None], [""], tmp_path / "sheet.png", GREY)
    with PIL.Image.open(tmp_path / "sheet.png") as page:
        pixels = np.asarray(page)[24:-24, 24:-24, 0]
    expected = ((x[0] + 1) * 127.5).round().numpy().repeat(8, 0).repeat(8, 1)
    assert np.array_equal(pixels, expected)


def test_sixteen_bits_are_scaled_to_eight(tmp_path):
    shades = np.arange(64, dtype=np.uint16).reshape(8, 8) * 1000
    PIL.Image.fromarray(shades).save(tmp_path / "x.png")
    read = (IMAGE.read(tmp_path / "x.png", GREY)[0] + 1) / 2
    assert np.abs(read.numpy() - shades / 65535).max() < 1 / 255
