"""Small annotated folders: COCO json, Pascal VOC xml, YOLO txt, CSV and id-PNGs."""

import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as runs

from datamodules.detection.objects import Annotations, Objects

HEIGHT, WIDTH = 40, 60
CSV_HEADER = "path,xmin,ymin,xmax,ymax,class"
YOLO_BOX = "1 0.5 0.25 0.5 0.25"  # 15, 5 to 45, 15
NUMBERS = np.zeros((HEIGHT, WIDTH), np.uint16)
NUMBERS[5:15, 10:30] = 3
NUMBERS[30:, 50:] = 700
NUMBERS[0, 0] = NUMBERS[39, 0] = 3  # an object of several parts, the last pixel of a column among them
CATEGORIES = [{"id": 7, "name": "cat"}, {"id": 3, "name": "dog"}]


def make_image(path: Path, shape: tuple[int, int] = (HEIGHT, WIDTH), orientation: int = 1) -> Path:
    """An image of noise; `shape` is (H, W) as stored, before EXIF turns it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(path, exif=exif)
    return path


def annotation(image: int = 1, category: int = 7, box: Any = (10, 5, 20, 10), **more: Any) -> dict[str, Any]:
    """An entry of COCO's `annotations`; `box` is xywh."""
    return {"image_id": image, "category_id": category, "bbox": box} | more


def image(number: int, **more: Any) -> dict[str, Any]:
    """An entry of COCO's `images`."""
    return {"id": number, "file_name": f"{number}.png", "height": HEIGHT, "width": WIDTH} | more


def coco(root: Path, annotations: list[dict], images: list[dict] | None = None, split: str = "train", **parts) -> Path:
    """COCO json with its images, which are written unless `images` are given; returns the json."""
    if images is None:
        images = [image(number) for number in sorted({a["image_id"] for a in annotations})]
        for entry in images:
            make_image(root / "images" / entry["file_name"])
    file = root / "annotations" / f"instances_{split}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"images": images, "annotations": annotations, "categories": CATEGORIES} | parts))
    return file


def compressed(mask: np.ndarray) -> dict[str, Any]:
    """COCO's compressed run-length encoding of a mask (H, W), as it stands in a json."""
    rle = runs.encode(np.asfortranarray(mask, np.uint8))
    return {"size": list(mask.shape), "counts": rle["counts"].decode()}


def only(found: Annotations, split: str = "train") -> Objects:
    """The objects of a split's only image."""
    assert len(found.splits[split]) == 1
    return found.splits[split].objects(0)


def table(
    root: Path, *lines: str, header: str = CSV_HEADER, name: str = "train.csv", images: tuple[str, ...] = ("a.png",)
) -> Path:
    """A CSV of boxes with its images; returns the CSV."""
    for each in images:
        make_image(root / "images" / each)
    file = root / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join([header, *lines]) + "\n")
    return file


def thing(name: str = "cat", box: tuple = (10, 5, 30, 15), more: str = "") -> str:
    """An object in Pascal VOC's XML; `box` is xyxy."""
    edges = "".join(
        f"<{edge}>{value}</{edge}>" for edge, value in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=False)
    )
    return f"<object><name>{name}</name>{more}<bndbox>{edges}</bndbox></object>"


def xml(file: Path, *things: str, size: tuple[int, int] = (WIDTH, HEIGHT), more: str = "") -> Path:
    """Pascal VOC's XML of one image, from `thing`s; `size` is (W, H)."""
    file.parent.mkdir(parents=True, exist_ok=True)
    size = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    file.write_text(f"<annotation>{more}{size}{''.join(things)}</annotation>")
    return file


def labels(file: Path, *lines: str) -> Path:
    """A text file, such as YOLO's of one image."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("\n".join(lines))
    return file


def mask(path: Path, numbers: np.ndarray = NUMBERS) -> Path:
    """A PNG whose values are the numbers of objects."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(numbers).save(path)
    return path
