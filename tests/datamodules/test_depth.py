"""Images of more than 8 bits or other than three bands: scaled to the value range, or refused with a remedy."""

import struct
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules import FrameFolder, ImageFolder, UnlabeledImages
from datamodules.decoding import read_image
from datamodules.inspection import inspect
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


def test_frames_after_the_first_are_counted(tmp_path):
    frames = [Image.fromarray(GRAY).convert("P"), Image.fromarray(255 - GRAY).convert("P")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    data = UnlabeledImages(str(tmp_path), batch_size=1)
    data.setup("predict")
    assert line_naming(data.describe(), "1 files", "frames")


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
