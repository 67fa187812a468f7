"""Images of more than 8 bits or other than three bands: scaled to the value range, or refused with a remedy."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules import FrameFolder, ImageFolder, UnlabeledImages
from datamodules.decoding import read_header, read_image
from datamodules.inspection import inspect
from datamodules.segmentation.files import open_mask
from modules.contracts import ConfigError, DataError
from tests.helpers.errors import assert_named, line_naming, refuses

GRAY = np.mgrid[:24, :32][1].astype(np.uint8) * 8


def tiff(path: Path, values: np.ndarray, photometric: int = 1, bits: int = 0, extra: Sequence[int] = ()) -> Path:
    """Write a TIFF of values (H, W) or (H, W, bands), as no library here can."""
    height, width, bands = (*values.shape, 1)[:3]
    data, kind = values.tobytes(), {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    shorts = {256: [width], 257: [height], 258: [bits or 8 * values.itemsize] * bands, 259: [1], 262: [photometric]}
    shorts |= {277: [bands], 278: [height], 284: [1], 339: [kind] * bands} | ({338: [*extra]} if extra else {})
    entries = {tag: (3, [*value]) for tag, value in shorts.items()} | {273: (4, [0]), 279: (4, [len(data)])}
    start = 8 + 2 + 12 * len(entries) + 4
    tail, table = b"", b""
    size = sum(2 * len(v) for t, v in entries.values() if t == 3 and len(v) > 2)
    entries[273] = (4, [start + size])
    for tag in sorted(entries):
        code, numbers = entries[tag]
        raw = struct.pack(f"<{len(numbers)}{'H' if code == 3 else 'I'}", *numbers)
        table += struct.pack("<HHI", tag, code, len(numbers))
        table += raw.ljust(4, b"\0") if len(raw) <= 4 else struct.pack("<I", start + len(tail))
        tail += raw if len(raw) > 4 else b""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(struct.pack("<2sHIH", b"II", 42, 8, len(entries)) + table + bytes(4) + tail + data)
    return path


def folder(root: Path, make) -> ImageFolder:
    """Two classes of three images each, which `make` writes for a path and a number."""
    for i in range(6):
        path = root / "data" / "ab"[i % 2] / f"{i}.tif"
        path.parent.mkdir(parents=True, exist_ok=True)
        make(path, i)
    data = ImageFolder(str(root / "data"), batch_size=1, val_split=0, workers=0)
    data.setup()
    return data


def first(data: ImageFolder) -> np.ndarray:
    return data.splits["train"][0].image(0)[..., 0]


def test_floats_of_0_to_1_become_0_to_255(tmp_path):
    data = folder(tmp_path, lambda path, i: Image.fromarray((GRAY / 255).astype(np.float32)).save(path))
    np.testing.assert_array_equal(first(data), GRAY)
    assert line_naming(data.describe(), "float32", 0, 1)


def test_floats_of_0_to_255_stay(tmp_path):
    data = folder(tmp_path, lambda path, i: Image.fromarray(GRAY.astype(np.float32)).save(path))
    np.testing.assert_array_equal(first(data), GRAY)


@pytest.mark.parametrize(
    ("scale", "low", "span"),
    [
        (1.0002, 2e-5, [0, 1]),
        (1.08, -0.08, [0, 1]),
        (262.0, -7.0, [0, 255]),
        (10.0, 0.0, [0, 10]),
        (300.0, 5.0, [5, 300]),
    ],
)
def test_floats_are_scaled_by_0_to_1_or_255_if_they_reach_that_far_and_stretched_otherwise(tmp_path, scale, low, span):
    values = (GRAY / GRAY.max() * (scale - low) + low).astype(np.float32)
    data = folder(tmp_path, lambda path, i: Image.fromarray(values).save(path))
    assert data.hparams["value_range"] == pytest.approx(span)
    expected = ((values - span[0]) / (span[1] - span[0]) * 255).clip(0, 255)
    np.testing.assert_allclose(first(data), expected, atol=1)


def test_floats_barely_above_1_are_read_without_a_range_too(tmp_path):
    path = tiff(tmp_path / "a.tif", (GRAY / 248 * 1.0002).astype(np.float32))
    np.testing.assert_allclose(read_image(path)[..., 0], GRAY / 248 * 255, atol=1)


def test_whole_numbers_of_few_bits_become_no_black_images(tmp_path):
    data = folder(tmp_path, lambda path, i: Image.fromarray((GRAY // 16).astype(np.uint16)).save(path))
    assert data.hparams["value_range"] == [0, 15]
    np.testing.assert_array_equal(first(data), GRAY // 16 * 17)


@pytest.mark.parametrize("bits", [8, 10, 12, 14, 16])
def test_16_bits_that_hold_fewer_are_scaled_by_the_highest_value_of_all_files(tmp_path, bits):
    top = (1 << bits) - 1

    def make(path: Path, i: int) -> None:  # one of them alone is dark
        Image.fromarray((GRAY / 255 * (top if i == 5 else top / 4)).round().astype(np.uint16)).save(path)

    data = folder(tmp_path, make)
    np.testing.assert_allclose(first(data).astype(int), GRAY // 4, atol=1)
    np.testing.assert_allclose(data.splits["train"][0].image(5)[..., 1].astype(int), GRAY, atol=1)
    assert data.hparams["value_range"] == [0, top]  # for the checkpoint


def test_hounsfield_units_are_stretched_or_shown_in_a_window(tmp_path):
    values = (GRAY.astype(np.int16) - 100) * 10  # -1000..1480
    data = folder(tmp_path, lambda path, i: tiff(path, values))
    np.testing.assert_allclose(first(data), (values + 1000) / 2480 * 255, atol=1)
    window = ImageFolder(str(tmp_path / "data"), batch_size=1, val_split=0, value_range=(-160, 240))
    window.setup()
    np.testing.assert_allclose(first(window), ((values + 160) / 400 * 255).clip(0, 255), atol=1)


def test_packed_12_bits_are_known_by_their_header(tmp_path):
    values = (GRAY.astype(np.uint16) << 4).ravel()
    pairs = zip(values[::2].tolist(), values[1::2].tolist(), strict=True)
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in pairs)
    image = np.frombuffer(packed, np.uint8)

    def make(path: Path, i: int) -> None:
        tiff(path, image.reshape(24, 48), bits=12)
        path.write_bytes(
            path.read_bytes().replace(struct.pack("<HHIHH", 256, 3, 1, 48, 0), struct.pack("<HHIHH", 256, 3, 1, 32, 0))
        )

    np.testing.assert_allclose(first(folder(tmp_path, make)).astype(int), GRAY, atol=1)


def test_white_is_zero_where_the_file_says_so(tmp_path):
    path = tiff(tmp_path / "a.tif", GRAY.astype(np.uint16) * 257, photometric=0)
    np.testing.assert_array_equal(read_image(path)[..., 0], 255 - GRAY)


def test_color_of_16_bits_and_floats_keep_their_channels(tmp_path):
    color = np.stack([GRAY, GRAY // 2, 255 - GRAY], -1)
    path = tiff(tmp_path / "a.tif", color.astype(np.uint16) * 257, photometric=2)
    np.testing.assert_array_equal(read_image(path), color)
    path = tiff(tmp_path / "b.tif", color.astype(np.float32) / 255, photometric=2)
    np.testing.assert_array_equal(read_image(path), color)
    path = tmp_path / "c.png"
    cv2.imwrite(str(path), np.dstack([color[..., ::-1], GRAY]).astype(np.uint16) * 257)  # with alpha
    np.testing.assert_array_equal(read_image(path), color)


def test_a_pgm_of_12_bits_is_scaled_by_its_header(tmp_path):
    (tmp_path / "a").mkdir()
    values = GRAY.astype(">u2") * 16
    (tmp_path / "a" / "0.pgm").write_bytes(b"P5\n32 24\n4095\n" + (values // 4).astype(">u2").tobytes())
    data = ImageFolder(str(tmp_path), batch_size=1, val_split=0)
    data.setup()
    np.testing.assert_allclose(first(data).astype(int), GRAY // 4, atol=1)


@pytest.mark.parametrize("bits", [12, 16])
def test_jpeg_2000_of_more_than_8_bits_keeps_them_in_gray_and_color(tmp_path, bits):
    values = np.repeat(np.repeat(GRAY, 4, 0), 4, 1).astype(np.uint16) << bits - 8
    color = np.stack([values, values // 2, values[:, ::-1]], -1)
    for i, image in enumerate((values, color)):
        folder = tmp_path / "ab"[i]
        folder.mkdir()
        assert cv2.imwrite(str(folder / "0.jp2"), image[..., ::-1] if i else image)
        data = UnlabeledImages(str(folder), batch_size=1)
        data.setup("predict")
        assert data.hparams["value_range"] == [0, (1 << bits) - 1]
        expected = np.atleast_3d(image) / ((1 << bits) - 1) * 255
        np.testing.assert_allclose(data.splits["train"][0].image(0), np.broadcast_to(expected, color.shape), atol=1)


def test_jpeg_2000_of_12_bits_says_so_in_its_header(tmp_path):
    Image.fromarray(np.repeat(np.repeat(GRAY, 4, 0), 4, 1)).save(tmp_path / "a.jp2")
    data = (tmp_path / "a.jp2").read_bytes()
    at = data.index(b"\xff\x4f\xff\x51") + 42
    assert data[at] == 7  # bits less one
    (tmp_path / "a.jp2").write_bytes(data[:at] + b"\x0b" + data[at + 1 :])
    header = read_header(tmp_path / "a.jp2")
    assert (header.depth, header.top) == ("uint16", 4095)


@pytest.mark.parametrize("kind", ["P2", "P3", "P5", "P6"])
@pytest.mark.parametrize("top", [1, 15, 100, 255, 4095])
def test_the_highest_value_of_a_pgm_or_ppm_is_white(tmp_path, kind, top):
    values = (GRAY / 248 * top).round().astype(np.uint16)
    color = np.stack([values, values // 2, top - values], -1) if kind in ("P3", "P6") else values
    numbers = color.ravel()
    data = numbers.astype(">u2" if top > 255 else np.uint8).tobytes()
    if kind in ("P2", "P3"):
        data = b" ".join(b"%d" % number for number in numbers)
    remark = b"# a remark that is longer than thirty-two bytes, as some programs write it"
    (tmp_path / "0.pnm").write_bytes(f"{kind}\n".encode() + remark + f"\n32 24\n{top}\n".encode() + data)
    found = UnlabeledImages(str(tmp_path), batch_size=1)
    found.setup("predict")
    expected = np.broadcast_to(np.atleast_3d(color) / top * 255, (24, 32, 3))
    np.testing.assert_allclose(found.splits["train"][0].image(0), expected, atol=1)


def test_a_range_that_a_checkpoint_hands_on_is_refused_for_images_of_another_depth(tmp_path):
    def photos(**settings) -> UnlabeledImages:
        return UnlabeledImages(str(tmp_path / "photos"), batch_size=1, **settings)

    trained = folder(tmp_path, lambda path, i: Image.fromarray((GRAY / 255).astype(np.float32)).save(path))
    known = {"depths": trained.depths}
    (tmp_path / "photos").mkdir()
    Image.fromarray(GRAY.astype(np.uint16) * 16).save(tmp_path / "photos" / "0.png")
    handed = photos(value_range=(0, 1))
    handed.adopt(known)
    with refuses(DataError, "data.value_range", "[0, 1]", "float32", "uint16", "3,968", "null"):
        handed.setup("predict")
    for typed, top in (((0, 3968), 3968), (None, 4095)):
        data = photos(value_range=typed)
        data.adopt(known, {"value_range"})
        data.setup("predict")
        assert data.hparams["value_range"] == [0, top]
    folder(tmp_path / "same", lambda path, i: Image.fromarray((GRAY / 100).astype(np.float32)).save(path))
    same = UnlabeledImages(str(tmp_path / "same"), batch_size=1, value_range=(0, 1))
    same.adopt(known)
    same.setup("predict")
    assert line_naming(same.input_notes, "float32", "2.48", "1", "clipped")


@pytest.mark.parametrize("bands", [2, 4, 5, 10, 13])
def test_bands_that_three_channels_cannot_show_are_refused(tmp_path, bands):
    values = np.repeat(GRAY[..., None], bands, 2).astype(np.uint16)
    with refuses(DataError, 6, tmp_path / "data/a/0.tif", f"{bands} bands", "--data.on_error skip"):
        folder(tmp_path, lambda path, i: tiff(path, values, extra=[0] * (bands - 1)))


@pytest.mark.parametrize("extra", [(), (1,), (2,)])
def test_a_fourth_band_that_is_alpha_is_dropped(tmp_path, extra):
    color = np.stack([GRAY, GRAY // 2, 255 - GRAY, GRAY], -1)
    path = tiff(tmp_path / "a.tif", color, photometric=2, extra=extra)
    assert not inspect(path).problem
    if extra != (1,):  # colors that alpha has been multiplied into
        np.testing.assert_array_equal(read_image(path), color[..., :3])


def test_stacks_of_pages_are_refused_and_thumbnails_are_not(tmp_path):
    page = Image.fromarray(GRAY)
    page.save(tmp_path / "stack.tif", save_all=True, append_images=[page, page])
    assert_named(inspect(tmp_path / "stack.tif").problem, "3 pages")
    with refuses(DataError, tmp_path / "stack.tif", "3 pages"):
        read_image(tmp_path / "stack.tif")
    page.save(tmp_path / "thumb.tif", save_all=True, append_images=[page.resize((8, 6))])
    assert not inspect(tmp_path / "thumb.tif").problem


def test_values_that_are_no_numbers_are_refused(tmp_path):
    values = (GRAY / 255).astype(np.float32)
    values[0, 0] = np.nan
    assert_named(inspect(tiff(tmp_path / "a.tif", values)).problem, "finite")


def test_types_that_cannot_be_compared_are_refused_in_one_data_set(tmp_path):
    def make(path: Path, i: int) -> None:
        Image.fromarray(GRAY.astype(np.uint16 if i else np.float32)).save(path)

    with refuses(DataError, "float32", "uint16", "--data.value_range"):
        folder(tmp_path, make)


def test_8_bits_stay_beside_16(tmp_path):
    data = folder(tmp_path, lambda path, i: Image.fromarray(GRAY.astype(np.uint16) * 16 if i else GRAY).save(path))
    np.testing.assert_array_equal(first(data), GRAY)


def test_large_images_are_refused_by_a_limit_with_its_name(tmp_path):
    file = tmp_path / "a.png"
    Image.new("1", (300, 200)).save(file)
    data = UnlabeledImages(str(tmp_path), batch_size=1, max_pixels=50_000)
    with refuses(DataError, file, "300 x 200", "60,000", "--data.max_pixels 50,000", "--data.on_error skip"):
        data.setup("predict")
    data = UnlabeledImages(str(tmp_path), batch_size=1, max_pixels=60_000)
    data.setup("predict")
    assert data.splits["train"][0].image(0).shape == (200, 300, 3)


@pytest.mark.parametrize("setting", [{"max_pixels": 0}, {"value_range": (1, 1)}])
def test_limits_that_mean_nothing_are_refused(tmp_path, setting):
    with refuses(ConfigError, f"data.{next(iter(setting))}"):
        UnlabeledImages(str(tmp_path), **setting)


def test_frames_of_a_video_are_refused_where_their_depth_is_not_plain(tmp_path):
    for name, factor in (("a", 257), ("b", 16)):
        for i in range(3):
            path = tmp_path / "run" / name / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(GRAY.astype(np.uint16) * factor).save(path)
    with refuses(DataError, 1, 2, tmp_path / "run/b", "uint16", "--data.on_error skip"):
        FrameFolder(str(tmp_path), batch_size=1, val_split=0, frames=2).setup()


@pytest.mark.parametrize("suffix", ["gif", "png", "webp"])
def test_of_several_frames_the_first_is_used_and_said_but_a_mask_of_several_is_refused(suffix, tmp_path):
    frames = [Image.fromarray(np.full((16, 16), value, np.uint8)) for value in (50, 200)]
    path = tmp_path / f"moves.{suffix}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)
    data = UnlabeledImages(str(tmp_path), val_split=0)
    data.setup()
    assert line_naming(data.describe(), "1", "several frames", "first")
    assert (data.original(path.name) == 50).all()
    with refuses(DataError, path.name, "frames"), open_mask(path):
        pass
