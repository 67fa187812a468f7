"""Data sets in COCO's panoptic layout, and panoptic quality counted the slow way."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tests.helpers.images import save

CATEGORIES = [
    {"id": 7, "name": "cat", "isthing": 1},
    {"id": 2, "name": "dog", "isthing": 1},
    {"id": 30, "name": "sky", "isthing": 0},
    {"id": 90, "name": "road", "isthing": 0},
]
CLASSES, IDS = ["dog", "cat", "sky", "road"], [2, 7, 30, 90]
THINGS = [True, True, False, False]
Segment = dict[str, Any]


def colors(numbers: np.ndarray) -> np.ndarray:
    """Ids (H, W) as red + 256 green + 65536 blue, uint8 (H, W, 3)."""
    return np.stack([numbers % 256, numbers // 256 % 256, numbers // 65536], -1).astype(np.uint8)


def segment(number: int, category: int, crowd: int = 0) -> Segment:
    return {"id": number, "category_id": category, "iscrowd": crowd}


def write_panoptic(
    root: Path, images: Sequence[tuple[np.ndarray, list[Segment]]], split: str = "train", **changes: Any
) -> Path:
    """Images of noise with maps of ids (H, W) and their segments; `changes` replace parts of the json, its path."""
    file, listed, annotations = root / "annotations" / f"panoptic_{split}.json", [], []
    generator = np.random.default_rng(len(images))
    for i, (numbers, segments) in enumerate(images, 1):
        height, width = numbers.shape
        name = f"{split}_{i}"
        save(generator.integers(0, 255, (height, width, 3), np.uint8), root / split / f"{name}.jpg")
        save(colors(numbers), file.with_suffix("") / f"{name}.png")
        listed.append({"id": i, "file_name": f"{name}.jpg", "height": height, "width": width})
        areas = [one | {"area": int((numbers == one["id"]).sum())} for one in segments]
        annotations.append({"image_id": i, "file_name": f"{name}.png", "segments_info": areas})
    content = {"images": listed, "annotations": annotations, "categories": CATEGORIES} | changes
    file.write_text(json.dumps(content))
    return file


def random_image(
    generator: np.random.Generator, shape: tuple[int, int] = (24, 32), count: int = 6
) -> tuple[np.ndarray, list[Segment]]:
    """Rectangles over void as a map of large ids, with their segments; some are crowds, stuff is one of its class."""
    numbers, categories = np.zeros(shape, np.int64), {}
    for _ in range(count):
        top, left = (int(generator.integers(0, side - 4)) for side in shape)
        height, width = (int(generator.integers(4, side)) for side in shape)
        category = int(generator.choice(IDS))
        number = category * 70_000 + (int(generator.integers(1, 5000)) if category < 30 else 1)
        numbers[top : top + height, left : left + width] = number
        categories[number] = category
    found = [n for n in np.unique(numbers).tolist() if n]
    generator.shuffle(found)
    return numbers, [segment(n, categories[n], int(categories[n] < 30 and generator.random() < 0.3)) for n in found]


def slow_counts(
    true: np.ndarray, true_segments: list[Segment], found: np.ndarray, found_segments: list[Segment]
) -> np.ndarray:
    """Matches, their IoU, wrong and missed segments of each class (4, 4), pair by pair after panopticapi's rules."""
    counts, matched_true, matched_found = np.zeros((4, len(IDS))), set(), set()
    for one in true_segments:
        for other in found_segments:
            if one["iscrowd"] or one["category_id"] != other["category_id"]:
                continue
            a, b = true == one["id"], found == other["id"]
            shared = (a & b).sum()
            iou = shared / (a.sum() + b.sum() - shared - (b & (true == 0)).sum())
            if iou > 0.5:
                counts[:2, IDS.index(one["category_id"])] += 1, iou
                matched_true.add(one["id"])
                matched_found.add(other["id"])
    crowds = {one["category_id"]: one["id"] for one in true_segments if one["iscrowd"]}
    for one in true_segments:
        if one["id"] not in matched_true and not one["iscrowd"]:
            counts[3, IDS.index(one["category_id"])] += 1
    for other in found_segments:
        if other["id"] not in matched_found:
            pixels = found == other["id"]
            nothing = (pixels & ((true == 0) | (true == crowds.get(other["category_id"], 0)))).sum()
            counts[2, IDS.index(other["category_id"])] += nothing / pixels.sum() <= 0.5
    return counts


def slow_quality(counts: np.ndarray) -> dict[str, float]:
    """PQ, SQ and RQ of counts (4, 4), as panopticapi averages them."""
    groups = {"": [0, 1, 2, 3], "_things": [0, 1], "_stuff": [2, 3]}
    quality = {}
    for end, classes in groups.items():
        parts = [counts[:, c] for c in classes if counts[[0, 2, 3], c].sum()]
        whole = [right + (wrong + missed) / 2 for right, _, wrong, missed in parts]
        quality[f"pq{end}"] = np.mean([part[1] / total for part, total in zip(parts, whole, strict=True)])
        quality[f"sq{end}"] = np.mean([part[1] / part[0] if part[0] else 0 for part in parts])
        quality[f"rq{end}"] = np.mean([part[0] / total for part, total in zip(parts, whole, strict=True)])
    return quality
