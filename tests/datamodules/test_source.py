"""Image files of every kind come out as upright RGB bytes; those that cannot are found before training."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile, ImageOps

from datamodules.decoding import read_image, read_shape
from datamodules.finding import find_images
from datamodules.inspection import inspect_all
from modules.contracts import DataError
from tests.helpers.errors import refuses

ROWS, COLUMNS = np.mgrid[:40, :56]
COLORS = np.stack([COLUMNS * 4, ROWS * 6, (ROWS + COLUMNS) * 2], -1).astype(np.uint8)  # no two corners alike
GRAY = COLORS[..., 0]
ALPHA = (255 - COLUMNS * 4).astype(np.uint8)


def by_pillow(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        return np.asarray(ImageOps.exif_transpose(file).convert("RGB"))


def assert_near(result: np.ndarray, expected: np.ndarray, tolerance: int = 0) -> None:
    assert result.dtype == np.uint8
    np.testing.assert_allclose(result.astype(int), expected.astype(int), atol=tolerance)


def broken(*paths: Path) -> list[str]:
    return [path.name for path, found in zip(paths, inspect_all(paths), strict=True) if found.problem]


def cut(path: Path, share: float) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


# Decoded images ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "ppm"])
def test_color_images_keep_every_byte(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLORS).save(path, lossless=True)
    assert_near(read_image(path), COLORS)
    assert broken(path) == []


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "pgm"])
def test_gray_images_get_three_equal_channels(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(GRAY).save(path, quality=95)
    image = read_image(path)
    assert np.ptp(image, axis=2).max() == 0
    assert_near(image, by_pillow(path), 2 if suffix == "jpg" else 0)
    assert_near(image[..., 0], GRAY, 4 if suffix == "jpg" else 0)


def test_black_and_white_images_are_0_and_255(tmp_path):
    path = tmp_path / "image.png"
    Image.fromarray(GRAY > 100).save(path)
    assert_near(read_image(path)[..., 0], np.where(GRAY > 100, 255, 0))


@pytest.mark.parametrize(("mode", "layers"), [("RGBA", (COLORS, ALPHA)), ("LA", (GRAY, ALPHA))])
def test_alpha_is_dropped_and_leaves_the_colors(tmp_path, mode, layers):
    path = tmp_path / "image.png"
    Image.fromarray(np.dstack(layers), mode).save(path)
    assert_near(read_image(path), np.broadcast_to(np.atleast_3d(layers[0]), COLORS.shape))


@pytest.mark.parametrize("transparent", [False, True])
def test_palette_images_get_their_colors(tmp_path, transparent):
    path = tmp_path / "image.png"
    palette = Image.fromarray(COLORS).convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(path, **({"transparency": 3} if transparent else {}))
    assert_near(read_image(path), np.asarray(palette.convert("RGB")))


def test_gif_shows_its_first_frame(tmp_path):
    path = tmp_path / "image.gif"
    frames = [Image.fromarray(image).convert("P", palette=Image.Palette.ADAPTIVE) for image in (COLORS, 255 - COLORS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])
    assert_near(read_image(path), np.asarray(frames[0].convert("RGB")), 1)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_gray_is_scaled_to_8(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(GRAY.astype(np.uint16) * 257).save(path)
    assert_near(read_image(path)[..., 1], GRAY)


def test_16_bit_color_is_scaled_to_8(tmp_path):
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), COLORS[..., ::-1].astype(np.uint16) * 257)
    assert_near(read_image(path), COLORS)


def test_jpeg_is_as_pillow_decodes_it(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(COLORS).save(path, quality=90)
    assert_near(read_image(path), by_pillow(path), 2)


def test_cmyk_jpeg_has_the_right_colors(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(COLORS).convert("CMYK").save(path, quality=95)
    assert_near(read_image(path), by_pillow(path), 3)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_images_are_turned_upright(tmp_path, orientation, suffix):
    path = tmp_path / f"image.{suffix}"
    upright = Image.fromarray(COLORS)
    exif = upright.getexif()
    exif[0x0112] = orientation
    upright.save(path, exif=exif, quality=95, lossless=True)
    image = read_image(path)
    assert image.shape == ((40, 56, 3) if orientation <= 4 else (56, 40, 3))
    assert_near(image, by_pillow(path), 2)


def late(data: bytes) -> bytes:
    """A PNG whose EXIF stands behind the pixels."""
    chunks, at = [], 8
    while at < len(data):
        end = at + 12 + int.from_bytes(data[at : at + 4])
        chunks, at = [*chunks, data[at:end]], end
    chunks.sort(key=lambda chunk: [b"IHDR", b"IDAT", b"eXIf", b"IEND"].index(chunk[4:8]))
    return data[:8] + b"".join(chunks)


@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_the_shape_of_a_png_is_the_upright_one_wherever_its_exif_stands(tmp_path, orientation):
    path = tmp_path / "image.png"
    upright = Image.fromarray(COLORS)
    exif = upright.getexif()
    exif[0x0112] = orientation
    upright.save(path, exif=exif)
    for data in (path.read_bytes(), late(path.read_bytes())):
        path.write_bytes(data)
        assert read_shape(path) == by_pillow(path).shape[:2]


def test_the_shape_of_a_png_is_read_without_decoding_it(tmp_path, monkeypatch):
    path = tmp_path / "image.png"
    Image.fromarray(COLORS).save(path)
    monkeypatch.setattr(Image.Image, "load", lambda file: pytest.fail("decoded"))
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda file: pytest.fail("decoded"))
    assert read_shape(path) == (40, 56)


# Broken files --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["jpg", "png", "gif", "bmp", "webp"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_truncated_images_are_found(tmp_path, suffix, share):
    path = tmp_path / f"image.{suffix}"
    noise = np.random.default_rng(0).integers(0, 256, COLORS.shape, np.uint8)
    Image.fromarray(noise).save(path)
    assert broken(path) == []
    cut(path, share)
    assert broken(path) == [path.name]


@pytest.mark.parametrize("content", [b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"not an image", b"GIF89a"])
@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_what_is_no_image_is_found_and_refused_by_name(tmp_path, content, suffix):
    path = tmp_path / f"image.{suffix}"
    path.write_bytes(content)
    assert broken(path) == [path.name]
    with refuses(DataError, path, "--data.on_error skip"):
        read_image(path)


def test_a_file_that_is_missing_is_refused_by_name(tmp_path):
    with refuses(DataError, tmp_path / "gone.jpg"):
        read_image(tmp_path / "gone.jpg")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_whole_images_with_bytes_behind_them_are_not_broken(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    Image.fromarray(COLORS).save(path)
    expected = read_image(path)
    path.write_bytes(path.read_bytes() + b"camera notes" * 3)
    assert broken(path) == []
    np.testing.assert_array_equal(read_image(path), expected)


def test_an_image_of_another_type_than_its_name_says_is_not_broken(tmp_path):
    path = tmp_path / "image.jpg"
    Image.fromarray(COLORS).save(path, "webp", lossless=True)
    assert broken(path) == []
    assert_near(read_image(path), COLORS)


def test_only_the_broken_ones_among_many_are_named(tmp_path):
    paths = [tmp_path / f"{i}.jpg" for i in range(5)]
    for path in paths:
        Image.fromarray(COLORS).save(path)
    cut(paths[1], 0.5)
    paths[3].write_text("not an image")
    assert broken(*paths) == ["1.jpg", "3.jpg"]


# Suffixes of image files -------------------------------------------------------------------------------------------


def test_images_are_found_at_any_depth_in_order_and_hidden_ones_passed_over(tmp_path):
    for name in ("b.JPG", "a/c.png", "a/.hidden.png", ".thumbs/d.png", "notes.txt", "a/e.tiff"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = [str(p.relative_to(tmp_path)) for p in find_images(tmp_path)]
    assert found == [os.path.join("a", "c.png"), os.path.join("a", "e.tiff"), "b.JPG"]  # noqa: PTH118


def test_a_hidden_folder_above_does_not_hide_the_images(tmp_path):
    folder = tmp_path / ".cache" / "images"
    folder.mkdir(parents=True)
    (folder / "a.png").touch()
    assert find_images(folder) == [folder / "a.png"]
