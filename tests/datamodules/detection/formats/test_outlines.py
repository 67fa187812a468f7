"""Compressed run lengths are checked before pycocotools trusts them; maps of numbers become run lengths."""

import numpy as np
import pytest
from pycocotools import mask as pycoco

from datamodules.detection.formats.outlines import instances, spanned


@pytest.fixture
def maps():
    random = np.random.default_rng(0)
    return [random.integers(0, 4, random.integers(1, 50, 2)) // random.integers(1, 4) for _ in range(60)]


def test_run_lengths_of_random_masks_span_their_images(maps):
    for numbers in maps:
        counts = pycoco.encode(np.asfortranarray((numbers > 0).astype(np.uint8)))["counts"]
        assert spanned(counts) == numbers.size


def test_runs_longer_than_an_image_of_a_million_pixels_are_read():
    counts = pycoco.frPyObjects({"size": [3000, 2000], "counts": [5_000_000, 1, 999_999]}, 3000, 2000)["counts"]
    assert spanned(counts) == 6_000_000


@pytest.mark.parametrize("counts", [b"", b"P", b"0P", b"\x00", b"~~", b"o" * 30, "é0".encode(), b"11O"])
def test_what_is_no_run_length_is_found(counts):
    assert spanned(counts) == -1


def test_every_number_of_a_map_becomes_its_own_mask(maps):
    for numbers in maps:
        size = list(numbers.shape)
        found = instances(numbers)
        assert list(found) == [n for n in np.unique(numbers).tolist() if n]
        for number, counts in found.items():
            expected = pycoco.encode(np.asfortranarray((numbers == number).astype(np.uint8)))
            assert pycoco.frPyObjects({"size": size, "counts": counts}, *size) == expected
