"""Near duplicates: copies that were encoded anew, resized, brightened or mirrored are found, and nothing else."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image, ImageEnhance

from datamodules.near_duplicates import SIDE, near_duplicates, read_thumbnail, thumbnail

COUNT = 60


def encoded(image: Image.Image, quality: int) -> Image.Image:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return Image.open(file).convert("RGB")


def scene(seed: int, side: int = 160) -> Image.Image:
    """A smooth random image, as photographs are: most of it in low frequencies."""
    noise = np.random.default_rng(seed).normal(size=(3, side, side))
    falling = 1 / (1 + np.hypot(*np.meshgrid(np.fft.fftfreq(side), np.fft.fftfreq(side))) * side) ** 1.5
    values = np.real(np.fft.ifft2(np.fft.fft2(noise) * falling))
    low, high = values.min(), values.max()
    return Image.fromarray((40 + 170 * (values - low) / (high - low)).astype(np.uint8).transpose(1, 2, 0))


COPIES = {
    "encoded anew": lambda image: encoded(image, 30),
    "resized": lambda image: image.resize((70, 70)),
    "brightened": lambda image: ImageEnhance.Brightness(image).enhance(1.2),
    "of more contrast": lambda image: ImageEnhance.Contrast(image).enhance(1.3),
    "gray": lambda image: image.convert("L").convert("RGB"),
    "mirrored": lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
}


@pytest.mark.parametrize("kind", COPIES)
def test_copies_are_found_and_nothing_else(kind):
    images = [scene(seed) for seed in range(COUNT)]
    made = [thumbnail(np.asarray(image)) for image in [*images, *map(COPIES[kind], images)]]
    found = near_duplicates(np.stack(made))
    assert [(pair.first, pair.second) for pair in found] == [(i, i + COUNT) for i in range(COUNT)]
    assert {pair.mirrored for pair in found} == {kind == "mirrored"}
    assert min(pair.similarity for pair in found) > 0.95


def test_flat_images_and_sets_of_none_or_one_are_no_duplicates():
    flat = np.full((3, SIDE, SIDE), 128, np.uint8)
    one = thumbnail(np.asarray(scene(0)))[None]
    for images in (flat, flat[:0], one, np.concatenate([flat, one])):
        assert near_duplicates(images) == []


def test_all_pairs_within_the_distance_are_those_of_comparing_all():
    """Multi-index hashing misses no pair that differs in fewer bits than there are parts (pigeonhole)."""
    from datamodules import near_duplicates as module

    random = np.random.default_rng(0)
    bits = random.integers(0, 2**63, (40, 2)).astype(np.uint64)
    near = bits[random.integers(0, 40, 200)].copy()
    for row in near:
        for place in random.integers(0, 128, 5):
            row[place // 64] ^= np.uint64(1) << np.uint64(place % 64)
    every = np.concatenate([bits, near])
    first, second, mirrored = module._candidates(every, ~every)
    distance = np.bitwise_count(every[:, None] ^ every[None]).sum(-1)
    wanted = {(i, j) for i, j in zip(*np.nonzero(distance <= 7), strict=True) if i < j}
    found = set(zip(first[~mirrored].tolist(), second[~mirrored].tolist(), strict=True))
    assert wanted <= found and all(distance[pair] <= module.MOST_BITS for pair in found)


@pytest.mark.parametrize("side", [40, 100, 200, 300, 600])
def test_a_thumbnail_decoded_at_a_reduced_scale_is_that_of_the_whole_image(tmp_path, side):
    path, image = tmp_path / "a.jpg", scene(1, side)
    image.save(path, quality=95)
    whole = thumbnail(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)).astype(int)
    assert np.abs(read_thumbnail(path, (side, side)).astype(int) - whole).mean() < 4


def test_a_thumbnail_stands_upright_and_reads_what_opencv_does_not(tmp_path):
    image = scene(2, 96)
    exif = image.getexif()
    exif[0x0112] = 6
    image.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    image.save(tmp_path / "a.gif")
    wanted = thumbnail(np.asarray(image)).astype(int)
    for name in ("turned.jpg", "a.gif"):
        assert np.abs(read_thumbnail(tmp_path / name, (96, 96)).astype(int) - wanted).mean() < 6
