"""Mask files are read as the values that were saved; files without values are refused."""

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules.segmentation.files import Undecodable, read_mask, read_palette
from modules.contracts import DataError
from modules.contracts.palette import palette
from tests.helpers.errors import refuses

MASK = np.random.default_rng(0).integers(0, 12, (30, 40)).astype(np.uint8)
COLORS = [channel for color in palette(256) for channel in color]


def palette_png(path, mask=MASK):
    image = Image.fromarray(mask, "P")
    image.putpalette(COLORS)
    image.save(path)
    return path


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif", "gif", "pgm"])
def test_gray_images_hold_numbers(tmp_path, suffix):
    path = tmp_path / f"mask.{suffix}"
    Image.fromarray(MASK).save(path)
    np.testing.assert_array_equal(read_mask(path), MASK)


def test_a_palette_image_holds_numbers_and_not_its_colors(tmp_path):
    path = palette_png(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(path), MASK)
    assert cv2.imread(str(path), cv2.IMREAD_UNCHANGED).shape == (30, 40, 3)  # the trap
    assert read_palette(path)[:12] == palette(12)


@pytest.mark.parametrize("count", [2, 4, 16])
def test_small_palettes_are_packed_in_bits(tmp_path, count):
    path = tmp_path / "mask.png"
    image = Image.fromarray(MASK % count, "P")
    image.putpalette(COLORS[: 3 * count])
    image.save(path, bits={2: 1, 4: 2, 16: 4}[count])
    np.testing.assert_array_equal(read_mask(path), MASK % count)


def test_sixteen_bits_keep_numbers_above_255(tmp_path):
    wide = MASK.astype(np.uint16) * 5000
    Image.fromarray(wide).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "mask.png"), wide)


def test_black_and_white_is_one_and_zero(tmp_path):
    Image.fromarray(MASK > 5).save(tmp_path / "mask.png")
    result = read_mask(tmp_path / "mask.png")
    np.testing.assert_array_equal(result, MASK > 5)
    assert result.dtype == np.uint8


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_colors_are_refused(tmp_path, mode):
    Image.fromarray(MASK).convert(mode).save(tmp_path / "mask.png")
    with refuses(DataError, tmp_path / "mask.png", mode, "labelmap.txt"):
        read_mask(tmp_path / "mask.png")


def test_a_jpeg_is_refused_even_if_it_is_gray(tmp_path):
    Image.fromarray(MASK).save(tmp_path / "mask.png", "JPEG")
    with refuses(DataError, tmp_path / "mask.png", "JPEG", "PNG"):
        read_mask(tmp_path / "mask.png")


def test_what_cannot_be_decoded_is_told_apart_from_what_is_no_mask(tmp_path):
    path = palette_png(tmp_path / "cut.png")
    path.write_bytes(path.read_bytes()[:-400])
    (tmp_path / "text.png").write_text("a mask")
    (tmp_path / "empty.png").touch()
    for name in ("cut.png", "text.png", "empty.png", "missing.png"):
        with refuses(Undecodable, tmp_path / name):
            read_mask(tmp_path / name)


@pytest.mark.parametrize("name", ["gray.png", "missing.png"])
def test_only_palette_images_have_a_palette(tmp_path, name):
    Image.fromarray(MASK).save(tmp_path / "gray.png")
    assert read_palette(tmp_path / name) is None
