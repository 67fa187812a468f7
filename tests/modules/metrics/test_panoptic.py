"""Panoptic quality against pairs counted one by one, and by hand."""

import numpy as np
import pytest
import torch
from pycocotools import mask as coco

from modules.metrics.bootstrap.items import Items
from modules.metrics.panoptic import PanopticScores, by_groups, count_matches, per_class, shared_pixels
from tests.helpers.panoptic_files import IDS, THINGS, random_image, slow_counts, slow_quality


def index_map(numbers: np.ndarray, segments: list[dict]) -> np.ndarray:
    """Ids as positions in the list of segments, from 1 on."""
    found = np.zeros_like(numbers)
    for place, one in enumerate(segments, 1):
        found[numbers == one["id"]] = place
    return found


def labels(segments: list[dict]) -> np.ndarray:
    return np.array([IDS.index(one["category_id"]) for one in segments], np.int64)


def counts(true: tuple, found: tuple) -> np.ndarray:
    (a, segments), (b, others) = true, found
    crowd = np.array([bool(one["iscrowd"]) for one in segments], bool)
    shared = shared_pixels(index_map(a, segments), index_map(b, others), len(segments), len(others))
    return count_matches(shared, labels(segments), crowd, labels(others), len(IDS))


def truth(numbers: np.ndarray, segments: list[dict]) -> dict:
    masks = [np.asfortranarray(numbers == one["id"], np.uint8) for one in segments]
    crowd = torch.tensor([bool(one["iscrowd"]) for one in segments], dtype=torch.bool)
    return {"rle": [coco.encode(one) for one in masks], "labels": torch.from_numpy(labels(segments)), "crowd": crowd}


def nearly(true: tuple, generator: np.random.Generator) -> tuple:
    """An answer that is the truth with a rectangle of it lost, and crowds found as objects."""
    numbers, segments = true[0].copy(), true[1]
    top, left = (int(generator.integers(0, side)) for side in numbers.shape)
    numbers[top : top + 9, left : left + 9] = 0
    return numbers, [one for one in segments if (numbers == one["id"]).any()]


def pairs(count: int, seed: int) -> list[tuple]:
    """Images with answers, half of which are close to the truth."""
    generator = np.random.default_rng(seed)
    images = [random_image(generator) for _ in range(count)]
    return [(one, nearly(one, generator) if i % 2 else random_image(generator)) for i, one in enumerate(images)]


def square(*segments: tuple[int, slice, int, int]) -> tuple[np.ndarray, list[dict]]:
    """A row of ten pixels, of which each segment (id, pixels, category, crowd) has some."""
    numbers = np.zeros((1, 10), np.int64)
    for number, part, _, _ in segments:
        numbers[0, part] = number
    return numbers, [{"id": n, "category_id": category, "iscrowd": crowd} for n, _, category, crowd in segments]


@pytest.mark.parametrize(
    ("true", "found", "expected"),
    [
        ([(5, slice(0, 6), 2, 0)], [(1, slice(0, 5), 2, 0)], (1, 5 / 6, 0, 0)),
        ([(5, slice(0, 6), 2, 0)], [(1, slice(0, 3), 2, 0)], (0, 0, 1, 1)),  # an IoU of exactly one half
        ([(5, slice(0, 6), 2, 0)], [(1, slice(0, 6), 7, 0)], (0, 0, 0, 1)),  # another class
        ([(5, slice(0, 4), 2, 0)], [(1, slice(0, 8), 2, 0)], (1, 1.0, 0, 0)),  # the rest is void
        ([(5, slice(0, 10), 7, 0)], [(1, slice(0, 8), 2, 0)], (0, 0, 1, 0)),
        ([(5, slice(0, 3), 7, 0)], [(1, slice(0, 8), 2, 0)], (0, 0, 0, 0)),  # five of eight pixels are void
        ([(5, slice(0, 4), 7, 0)], [(1, slice(0, 8), 2, 0)], (0, 0, 1, 0)),  # half of them
        ([(5, slice(0, 10), 2, 1)], [(1, slice(0, 8), 2, 0)], (0, 0, 0, 0)),  # a crowd of this class
        ([(5, slice(0, 10), 7, 1)], [(1, slice(0, 8), 2, 0)], (0, 0, 1, 0)),  # a crowd of another
        ([(5, slice(0, 10), 2, 1)], [], (0, 0, 0, 0)),
        ([], [(1, slice(0, 8), 2, 0)], (0, 0, 0, 0)),
    ],
)
def test_counts_by_hand(true, found, expected):
    assert counts(square(*true), square(*found))[:, 0].tolist() == pytest.approx(list(expected))


def test_of_several_crowds_of_a_class_the_last_counts():
    crowds = [(5, slice(0, 5), 2, 1), (6, slice(5, 10), 2, 1)]
    found = square((1, slice(0, 5), 2, 0))
    assert counts(square(*crowds), found)[2, 0] == 1
    assert counts(square(*crowds[::-1]), found)[2, 0] == 0


def test_counts_of_random_images_are_those_of_pairs_counted_one_by_one():
    for true, found in pairs(60, seed=1):
        np.testing.assert_allclose(counts(true, found), slow_counts(*true, *found), atol=1e-12)


def test_scores_are_means_over_the_classes_that_occur():
    images, metric = pairs(40, seed=2), PanopticScores(THINGS)
    for first in range(0, 40, 8):
        part = images[first : first + 8]
        maps = [torch.from_numpy(index_map(*found)) for _, found in part]
        names = [torch.from_numpy(labels(found[1])) for _, found in part]
        metric.update(maps, names, [truth(*true) for true, _ in part])
    total = sum(slow_counts(*true, *found) for true, found in images)
    assert {name: float(value) for name, value in metric.compute().items()} == pytest.approx(
        slow_quality(total), abs=1e-6
    )
    each = per_class(total)
    assert each["segments"].sum() == sum(not one["iscrowd"] for (_, segments), _ in images for one in segments)
    assert each["pq"] == pytest.approx(each["sq"] * each["rq"])


def test_resampled_images_give_the_scores_of_a_set_that_holds_them_as_often(tmp_path):
    images, generator = pairs(12, seed=3), np.random.default_rng(0)
    table = np.stack([counts(*one) for one in images])
    items = Items(np.array([str(i) for i in range(12)]), [*by_groups(table, THINGS)])
    items.save(tmp_path / "items.npz")
    often = generator.integers(0, 3, (5, 12))
    found = items.values(often)
    for row, number in enumerate(often):
        expected = slow_quality((table * number[:, None, None]).sum(0))
        assert {name: value[row] for name, value in found.items()} == pytest.approx(expected, abs=1e-9)


def test_an_image_without_segments_in_truth_or_answer_is_counted():
    metric, empty = PanopticScores(THINGS), torch.zeros(1, 10, dtype=torch.int32)
    none = truth(*square())
    metric.update([empty], [torch.zeros(0, dtype=torch.long)], [none])
    assert metric.compute()["pq"].isnan()
    metric.update([empty], [torch.zeros(0, dtype=torch.long)], [truth(*square((5, slice(0, 6), 30, 0)))])
    assert metric.compute()["pq_stuff"] == 0


def test_torchmetrics_agrees_where_there_is_neither_void_nor_crowd():
    from torchmetrics.detection import PanopticQuality

    generator = np.random.default_rng(4)
    reference = PanopticQuality(things={0, 1}, stuffs={2, 3}, return_sq_and_rq=True)
    total = np.zeros((4, 4))
    for _ in range(20):
        both = []
        for _ in range(2):
            numbers, segments = random_image(generator)
            ground = {"id": 30 * 70_000 + 1, "category_id": 30, "iscrowd": 0}
            numbers[numbers == 0] = ground["id"]
            segments = [one | {"iscrowd": 0} for one in segments if one["id"] != ground["id"]] + [ground]
            both.append((numbers, [one for one in segments if (numbers == one["id"]).any()]))
        maps = [
            torch.from_numpy(np.stack([labels(s)[index_map(n, s) - 1], index_map(n, s)], -1))[None] for n, s in both
        ]
        reference.update(maps[1], maps[0])
        total += counts(*both)
    found = by_groups(total[None], THINGS)[0].values(np.ones((1, 1)))
    assert [found[name][0] for name in ("pq", "sq", "rq")] == pytest.approx(reference.compute().tolist(), abs=1e-6)
