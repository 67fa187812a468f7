"""YOLO txt reader: one file per image, one line per object, in fractions of the image (Redmon et al. 2016)."""

import math
from pathlib import Path

import numpy as np

from datamodules.detection.formats.images import OnError
from datamodules.detection.formats.merge import merge, some
from datamodules.detection.formats.raw import Image, Object, Raw
from datamodules.detection.formats.yolo_layout import Layout, find, label_file, lines, split_images
from datamodules.detection.objects import Annotations
from datamodules.finding import SUFFIXES
from modules.contracts import DataError

NEEDS = (
    "data.yaml with names and train (or obj.data), or classes.txt with images/ and labels/, where a line is "
    "`class x y w h`"
)


def read_yolo(root: Path, masks: bool, on_error: OnError = "raise") -> Annotations:
    """Images and objects of YOLO's txt files: a class with the center and sides of a box, or with a polygon.

    An image without txt file has no objects. Where data.yaml has `kpt_shape`, keypoints behind the box are left alone.

    Raises:
        DataError: no names or images, a class beyond the names, pixels instead of fractions, keypoints without
            `kpt_shape`, or as `merge`.
    """
    layout = find(root)
    if layout is None:
        raise DataError(f"{root} has no YOLO data: that is {NEEDS}")
    if not layout.places:
        raise DataError(f"{layout.file} names classes but no images: add train and val to it")
    numbers = {key: i for i, key in enumerate(layout.names)}
    raws, notes = {}, [*layout.notes]
    for split, places in layout.places.items():
        paths = [path for place in places for path in split_images(root, place)]
        raws[split] = Raw(str(places[0]), "line {}", "cxcywh", fractions=True, orphans=_orphans(paths))
        bare = _fill(raws[split], paths, numbers, layout)
        _check_poses(raws[split], layout)
        _check_unit(raws[split])
        if split == "test" and len(bare) == len(paths):
            del raws[split]
            notes.append(f"no {split} set: none of its {len(paths):,} images has a txt file, so there are no labels")
        elif bare:
            notes.append(f"images of {split} without txt file, so without objects: {len(bare):,} ({some(bare)})")
    found = merge(root, raws, [*layout.names.values()], [*layout.names], masks, on_error)
    found.notes[:0] = notes
    return found


def _fill(raw: Raw, paths: list[Path], numbers: dict[int, int], layout: Layout) -> list[str]:
    """Add images and their objects; returns the images without txt file."""
    bare, owners = [], {}
    for row, path in enumerate(paths):
        file = label_file(path)
        if owners.setdefault(file, path) != path and file.is_file():
            raise DataError(
                f"{owners[file]} and {path} share {file}, so which of them its objects are in is not known: rename or "
                f"remove one"
            )
        raw.images.append(Image(str(path), path, str(file)))
        if not file.is_file():
            bare.append(path.name)
            continue
        for index, line in enumerate(lines(file), 1):
            raw.objects.append(_object(row, index, line, numbers, f"{file} line {index}", layout))
    return bare


def _object(row: int, index: int, line: str, numbers: dict[int, int], where: str, layout: Layout) -> Object:
    try:
        number, *values = map(float, line.split())
    except ValueError:
        return Object(row, index, None, 0, flaw=f"{line!r} is not all numbers")
    if layout.keypoints:
        values, flaw = _without_keypoints(values, layout.keypoints, line)
        if flaw:
            return Object(row, index, None, 0, flaw=flaw)
    polygon = len(values) >= 6 and len(values) % 2 == 0
    if len(values) != 4 and not polygon:
        return Object(row, index, None, 0, flaw=f"{line!r} is neither `class x y w h` nor a class with a polygon")
    if number not in numbers:
        raise DataError(f"{where} has class {number:g}, but {layout.file} has {_range(numbers)}: correct one of them")
    label = numbers[int(number)]
    if not polygon:
        return Object(row, index, values, label)
    points = np.array(values).reshape(-1, 2)
    low, high = points.min(0), points.max(0)
    return Object(row, index, [*(low + high) / 2, *(high - low)], label, outline=[values])


def _without_keypoints(values: list[float], shape: tuple[int, int], line: str) -> tuple[list[float], str]:
    """The box in front of the keypoints, and the flaw of the line; empty if there is none."""
    count, each = shape
    if len(values) not in (4, 4 + count * each):
        return values, f"{line!r} is no `class x y w h` with {count} keypoints of {each} values (kpt_shape)"
    return values[:4], ""


def _check_poses(raw: Raw, layout: Layout) -> None:
    """Refuse keypoints without `kpt_shape`, which would pass for polygons.

    All lines are then of one length, and every third value behind the box is a visibility flag, 0, 1 or 2.

    Raises:
        DataError: the lines look like that.
    """
    polygons = [o.outline[0] for o in raw.objects if o.outline]
    lengths = {len(values) for values in polygons}
    if layout.keypoints or not polygons or len(polygons) < len(raw.objects) or len(lengths) > 1:
        return
    (length,) = lengths
    seen = {value for values in polygons for value in values[6::3]}
    if length > 6 and (length - 4) % 3 == 0 and seen <= {0.0, 1.0, 2.0}:
        count = (length - 4) // 3
        raise DataError(
            f"{raw.where(0)} and all lines of {raw.file} look like boxes with {count} keypoints, not like polygons: "
            f"write `kpt_shape: [{count}, 3]` into {layout.file}"
        )


def _range(numbers: dict[int, int]) -> str:
    return f"only {len(numbers)} names, from {min(numbers)} to {max(numbers)}"


def _check_unit(raw: Raw) -> None:
    large = [k for k, o in enumerate(raw.objects) if o.box and max(o.box) > 1.5 and math.isfinite(max(o.box))]
    if 2 * len(large) > len(raw.objects):
        box = ", ".join(f"{value:g}" for value in raw.objects[large[0]].box)
        raise DataError(
            f"{raw.where(large[0])} has the box {box}, and most of {raw.file} are like it: YOLO's are fractions of the "
            f"image, so divide pixels by its width and height"
        )


def _orphans(paths: list[Path]) -> list[str]:
    """Label files whose images are not there, in the folders of the others."""
    folders = {label_file(path).parent: path.parent for path in paths}
    found = []
    for labels, images in folders.items():
        stems = {p.stem for p in images.iterdir() if p.suffix.lower() in SUFFIXES} if images.is_dir() else set()
        listed = {path.stem for path in paths if path.parent == images}  # missing ones are named as images
        spare = (file for file in sorted(labels.glob("*.txt")) if file.stem not in stems | listed)
        found += [f"{file} is of an image that is not in {images}" for file in spare if _has_objects(file)]
    return found


def _has_objects(file: Path) -> bool:
    """True for a label file, false for a list of names or of images."""
    first = next(iter(lines(file)), "").split()
    try:
        return len([float(part) for part in first]) >= 5
    except ValueError:
        return False
