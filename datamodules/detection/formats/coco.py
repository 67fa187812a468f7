"""COCO json reader: images, objects and categories, each with its own id (Lin et al. 2014)."""

import json
import mmap
from array import array
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from datamodules import coco_fields as fields
from datamodules.base import Split
from datamodules.detection.formats.coco_keypoints import one_layout, points_of
from datamodules.detection.formats.images import OnError, Places
from datamodules.detection.formats.merge import merge, split_of
from datamodules.detection.formats.raw import Image, Object, Raw
from datamodules.detection.objects import Annotations
from modules.contracts import DataError, regular
from modules.contracts.keypoints import KeypointLayout

PARTS = ("images", "annotations", "categories")
NEEDS = "annotations/instances_train.json, train/_annotations.coco.json, or one json in the folder"
KEYPOINTS = "person_keypoints"
OTHERS = ("captions", KEYPOINTS, "panoptic", "stuff", "image_info")  # COCO's files of other tasks


class Entry(NamedTuple):
    """An annotation as it is in the file; null for missing fields."""

    id: Any
    image_id: Any
    category_id: Any
    bbox: Any
    area: Any
    iscrowd: Any
    segmentation: Any
    keypoints: Any = None


def find(root: Path, keypoints: bool = False) -> dict[Split, Path]:
    """Find the json of each split; that of `person_keypoints` only where keypoints are wanted.

    `annotations/instances_train2017.json`, `train/_annotations.coco.json`, `train.json`; one alone, of whatever name,
    is training's.
    """
    files = [
        f for pattern in ("*.json", "*/*.json") for f in sorted(root.glob(pattern)) if _is_of_objects(f, keypoints)
    ]
    named: dict[Split, list[Path]] = {}
    for file in files:
        if split := split_of(file, root):
            named.setdefault(split, []).append(file)
    if not named and len(files) == 1:
        return {"train": files[0]}
    return {split: one_of(named[split], keypoints) for split in ("train", "val", "test") if split in named}


def read_coco(root: Path, masks: bool, on_error: OnError = "raise", keypoints: bool = False) -> Annotations:
    """Images and objects of COCO's json files. Category ids become class indices in ascending order.

    Crowds are kept and marked. Polygons and run-length encodings (RLE) become compressed RLE if `masks`; else they are
    ignored where there is a box. Keypoints are read if wanted, of one layout for all categories that have some.

    Raises:
        DataError: no json, one that is not COCO's, ids that are unknown or used twice, or as `merge` and
            `coco_keypoints`.
    """
    files = find(root, keypoints)
    if not files:
        raise DataError(f"{root} has no COCO json: {miss(root) or f'that is {NEEDS}'}")
    contents = {split: _load(file, masks, keypoints) for split, file in files.items()}
    first = next(iter(files))
    names = categories(contents[first], files[first])
    for split, file in files.items():
        for key, name in categories(contents[split], file).items():
            if names.get(key) != name:
                known = f"calls it {names[key]!r}" if key in names else "does not have it"
                raise DataError(f"{file} has category {key}, {name!r}, but {files[first]} {known}: use one set")
    points = None
    if keypoints:
        points = one_layout({file: contents[split]["categories"] for split, file in files.items()})
    raws: dict[Split, Raw] = {}
    for split, file in files.items():
        raws[split] = _raw(root, file, contents.pop(split), {key: i for i, key in enumerate(names)}, points)
    return replace(merge(root, raws, list(names.values()), list(names), masks, on_error), keypoints=points)


def miss(root: Path) -> str:
    """The reason why a json is not COCO's; empty if there is none."""
    files = [f for pattern in ("*.json", "annotations/*.json") for f in sorted(root.glob(pattern))]
    return f"{files[0]} has no list 'annotations', which COCO's have beside images and categories" if files else ""


def _is_of_objects(file: Path, keypoints: bool) -> bool:
    others = tuple(kind for kind in OTHERS if kind != KEYPOINTS or not keypoints)
    return not file.name.startswith(others) and mentions(file, "annotations")


def mentions(file: Path, key: str) -> bool:
    """True if a json has that key somewhere."""
    if not file.stat().st_size:
        return False
    with file.open("rb") as opened, mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as text:
        return any(text.find(f'"{key}"'.encode(code)) >= 0 for code in ("utf-8", "utf-16-le", "utf-16-be"))


def one_of(files: list[Path], keypoints: bool = False) -> Path:
    """The json of a split: of several that of instances, or of keypoints.

    Raises:
        DataError: several are left.
    """
    own = KEYPOINTS if keypoints else "instances"
    chosen = [file for file in files if file.name.startswith(own)] or files
    if len(chosen) > 1:
        raise DataError(f"{chosen[0]} and {chosen[1]} are both for one split: leave one of them in the folder")
    return chosen[0]


def _load(file: Path, masks: bool, keypoints: bool) -> dict[str, Any]:
    def compact(value: dict[str, Any]) -> Any:
        """Keep only the needed fields of an annotation; called while reading, so that never all are in memory."""
        if "image_id" not in value:
            return value | {key: fields.integer(value[key]) for key in ("id", "height", "width") if key in value}
        outline, box = fields.outline(value.get("segmentation")), value.get("bbox") or None
        if outline and fields.is_flat(box):
            box = None  # the outline says it
        if box is not None and not masks:
            outline = None
        if isinstance(outline, list):
            outline = [_numbers(points) for points in outline]
        ids = (fields.integer(value.get(name)) for name in ("id", "image_id", "category_id"))
        area, crowd = fields.real(value.get("area")), fields.flag(value.get("iscrowd"))
        return Entry(*ids, box, area, crowd, outline, _numbers(value.get("keypoints") or []) if keypoints else None)

    try:
        with regular(file).open("rb") as opened:
            content = json.load(opened, object_hook=compact)
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is no json that can be read ({error}): write it again") from error
    if not isinstance(content, dict):
        raise DataError(f"{file} is a list, as results are: COCO's annotations are an object of {', '.join(PARTS)}")
    missing = [part for part in PARTS if not isinstance(content.get(part), list)]
    if missing:
        raise DataError(f"{file} is not COCO's: it has no list {' and no list '.join(missing)}, only {[*content]}")
    return content


def _numbers(points: Any) -> Any:
    """A polygon as an array of doubles, in an eighth of the memory."""
    try:
        return array("d", points)
    except TypeError:
        return points


def categories(content: dict[str, Any], file: Path) -> dict[int, str]:
    """Names by id, ascending."""
    found = content["categories"]
    for i, category in enumerate(found):
        check_entry(category, ("id", "name"), f"{file} categories[{i}]")
    for part in ("id", "name"):
        value, count = Counter(str(category[part]) for category in found).most_common(1)[0] if found else (None, 1)
        if count > 1:
            raise DataError(f"{file} has {count} categories of {part} {value}: give each its own")
    return {category["id"]: str(category["name"]) for category in sorted(found, key=lambda c: c["id"])}


def check_entry(entry: Any, needed: tuple[str, ...], where: str) -> None:
    """Check that an entry has what is needed, and a whole number as id.

    Raises:
        DataError: it does not.
    """
    if not isinstance(entry, dict) or any(name not in entry for name in needed):
        missing = next((name for name in needed if not isinstance(entry, dict) or name not in entry), needed[0])
        raise DataError(f"{where} has no {missing!r}, which COCO's have: mend the file")
    if not isinstance(entry["id"], int):
        raise DataError(f"{where} has the id {entry['id']!r}: ids are whole numbers")


def _raw(
    root: Path, file: Path, content: dict[str, Any], classes: dict[int, int], layout: KeypointLayout | None
) -> Raw:
    raw = Raw(str(file), "annotations[{}]", "xywh")
    places, rows = Places(image_folders(root, file)), {}
    for i, image in enumerate(content["images"]):
        check_entry(image, ("id", "file_name"), f"{file} images[{i}]")
        name, key = str(image["file_name"]), image["id"]
        if rows.setdefault(key, i) != i:
            raise DataError(
                f"{file} images[{rows[key]}] and images[{i}] ({name}) both have the id {key}: give each its own"
            )
        where = f"{file} images[{i}] ({name})"
        raw.images.append(Image(where, places.find(name), str(file), shape_of(image, where), key))
    for k, entry in enumerate(content["annotations"]):
        label = _label(k, entry, classes, file)
        if (row := rows.get(_id(entry.image_id))) is None:
            raw.orphans.append(f"{file} annotations[{k}] is of image_id {entry.image_id!r}, which its images lack")
        else:
            points = (
                None if layout is None else points_of(entry.keypoints, layout, f"{file} annotations[{k}]", entry.id)
            )
            sizes = entry.iscrowd, entry.area, entry.segmentation
            raw.objects.append(Object(row, k, entry.bbox, label, *sizes, keypoints=points))
    return raw


def _id(value: Any) -> int | float | None:
    """An id; null for anything but a number, which cannot be looked up."""
    return value if isinstance(value, int | float) else None


def shape_of(image: dict[str, Any], where: str) -> tuple[int, int] | None:
    """Height and width as annotated, if they are."""
    shape = image.get("height"), image.get("width")
    if not all(shape):
        return None
    if not all(isinstance(side, int | float) for side in shape):
        raise DataError(f"{where} has height {shape[0]!r} and width {shape[1]!r}: write numbers")
    return shape


def _label(k: int, entry: Any, classes: dict[int, int], file: Path) -> int:
    if not isinstance(entry, Entry) or entry.category_id is None:
        missing = "category_id" if isinstance(entry, Entry) else "image_id"
        raise DataError(f"{file} annotations[{k}] has no {missing!r}: these are not COCO's annotations of objects")
    if _id(entry.category_id) not in classes:
        raise DataError(
            f"{file} annotations[{k}] has category_id {entry.category_id!r}, which its categories lack: add it to them"
        )
    return classes[entry.category_id]


def image_folders(root: Path, file: Path) -> list[Path]:
    """Candidate folders of the images of a json such as instances_train2017.json."""
    part, split = file.stem.split("_", 1)[-1], split_of(file, root) or "train"
    names = [f"images/{part}", part, f"images/{split}", split, "images", ".", "JPEGImages", "PNGImages"]
    own = [file.parent, file.parent / "images"] if file.parent != root else []
    return [*own, *(root / name for name in names)]
