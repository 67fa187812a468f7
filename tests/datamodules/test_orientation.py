"""EXIF orientation: sizes and pixels agree for every value and format."""

import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2

from datamodules.decoding import read_image, read_shape

ROWS, COLUMNS = np.mgrid[:40, :56]
COLORS = np.stack([COLUMNS * 4, ROWS * 6, (ROWS + COLUMNS) * 2], -1).astype(np.uint8)  # no two corners alike
UPRIGHT = {
    1: COLORS,
    2: COLORS[:, ::-1],
    3: COLORS[::-1, ::-1],
    4: COLORS[::-1],
    5: COLORS.swapaxes(0, 1),
    6: np.rot90(COLORS, -1),
    7: COLORS[::-1, ::-1].swapaxes(0, 1),
    8: np.rot90(COLORS),
}
"""By the definition of TIFF 6.0: the side of the image that the first row and the first column are."""
ORIENTATION = 274
XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)


def exif(orientation: int | str) -> bytes:
    """EXIF of one entry: SHORT, LONG where the number needs it, or text."""
    if isinstance(orientation, str):
        entry = struct.pack("<HHI4s", ORIENTATION, 2, 2, orientation.encode())
    else:
        entry = struct.pack("<HHII", ORIENTATION, 3 if orientation < 1 << 16 else 4, 1, orientation)
    return b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + bytes(4)


def save(path: Path, orientation: int | str) -> Path:
    quality = {"subsampling": "4:4:4"} if path.suffix == ".avif" else {"subsampling": 0}
    if path.suffix == ".tif":
        tags = ImageFileDirectory_v2()
        tags.tagtype[ORIENTATION] = 2 if isinstance(orientation, str) else 4
        tags[ORIENTATION] = orientation
        Image.fromarray(COLORS).save(path, tiffinfo=tags)
    else:
        Image.fromarray(COLORS).save(path, exif=exif(orientation), quality=98, lossless=True, **quality)
    return path


def assert_is(path: Path, expected: np.ndarray, tolerance: int = 6) -> None:
    assert read_shape(path) == expected.shape[:2]
    np.testing.assert_allclose(read_image(path).astype(int), expected.astype(int), atol=tolerance)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif", "avif", "jfif"])
def test_every_orientation_of_every_format_is_turned_upright(tmp_path, suffix, orientation):
    if suffix == "avif" and ".avif" not in Image.registered_extensions():
        pytest.skip("this Pillow has no AVIF")
    if suffix == "jfif":  # a PNG under the name of a JPEG
        path = save(tmp_path / "image.png", orientation).rename(tmp_path / "image.jfif")
    else:
        path = save(tmp_path / f"image.{suffix}", orientation)
    assert_is(path, UPRIGHT[orientation], 12 if suffix == "avif" else 6)


@pytest.mark.parametrize("orientation", [0, 9, 65537, "6"])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_values_that_mean_nothing_turn_nothing(tmp_path, suffix, orientation):
    assert_is(save(tmp_path / f"image.{suffix}", orientation), COLORS)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_xmp_turns_nothing(tmp_path, suffix):
    path = tmp_path / f"image.{suffix}"
    if suffix == "tif":
        Image.fromarray(COLORS).save(path, tiffinfo={700: XMP})
    elif suffix == "png":
        from PIL.PngImagePlugin import PngInfo

        info = PngInfo()
        info.add_itxt("XML:com.adobe.xmp", XMP.decode())
        Image.fromarray(COLORS).save(path, pnginfo=info)
    else:
        Image.fromarray(COLORS).save(path, xmp=XMP, quality=98, lossless=True, subsampling=0)
    assert_is(path, COLORS)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("depth", [np.uint16, np.float32])
def test_deep_tiffs_are_turned_too(tmp_path, depth, orientation):
    path = tmp_path / "image.tif"
    gray = COLORS[..., 0]
    values = gray.astype(np.uint16) * 257 if depth is np.uint16 else gray.astype(np.float32) / 255
    Image.fromarray(values).save(path, tiffinfo={ORIENTATION: orientation})
    assert_is(path, np.repeat(UPRIGHT[orientation][..., :1], 3, axis=2), 0)


def test_compressed_and_tiled_kinds_of_tiff_agree(tmp_path):
    for compression in ("tiff_lzw", "tiff_adobe_deflate", "packbits"):
        path = tmp_path / f"{compression}.tif"
        Image.fromarray(COLORS).save(path, compression=compression, tiffinfo={ORIENTATION: 6})
        assert_is(path, UPRIGHT[6], 0)


def test_cmyk_and_palettes_with_transparency_are_turned(tmp_path):
    image = Image.fromarray(COLORS)
    image.convert("CMYK").save(tmp_path / "image.jpg", exif=exif(8), quality=98)
    assert_is(tmp_path / "image.jpg", UPRIGHT[8], 12)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE)
    palette.save(tmp_path / "image.png", exif=exif(8), transparency=bytes(range(200)))
    assert_is(tmp_path / "image.png", np.rot90(np.asarray(palette.convert("RGB"))), 0)
