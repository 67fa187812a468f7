"""Small annotated folders."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from datamodules.objects.objects import Annotations, Objects

HEIGHT, WIDTH = 40, 60
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def picture(path: Path, shape: tuple[int, int] = (HEIGHT, WIDTH), orientation: int = 1) -> Path:
    """Noise; `shape` is as stored, before EXIF turns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def annotation(image: int = 1, category: int = 7, box: Any = (10, 5, 20, 10), **more: Any) -> dict[str, Any]:
    """Of COCO: xywh."""
    return {"image_id": image, "category_id": category, "bbox": box} | more


def image(number: int, **more: Any) -> dict[str, Any]:
    return {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH} | more


def coco(root: Path, annotations: list[dict], images: list[dict] | None = None, split: str = "train", **parts) -> Path:
    """A json with its pictures, written unless `images` are given; returns the json."""
    if images is None:
        images = [image(number) for number in sorted({a["image_id"] for a in annotations})]
        for entry in images:
            picture(root / "images" / entry["file_name"])
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | parts))
    return file


def only(found: Annotations, split: str = "train") -> Objects:
    """The objects of a split's only picture."""
    assert len(found.splits[split]) == 1
    return found.splits[split].objects(0)
