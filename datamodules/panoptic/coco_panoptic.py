"""Reader of COCO's panoptic json and the PNGs of its segments."""

import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from pycocotools import mask as coco

from datamodules import coco_fields as fields
from datamodules.base import Split
from datamodules.cache import cached, digest, stamp
from datamodules.detection.formats.coco import categories, check_entry, image_folders, mentions, one_of, shape_of
from datamodules.detection.formats.images import OnError, Places
from datamodules.detection.formats.merge import merge, split_of
from datamodules.detection.formats.outlines import instances, run_lengths
from datamodules.detection.formats.raw import Image, Object, Raw
from datamodules.detection.objects import Annotations
from datamodules.file_names import posix, spelled
from datamodules.segmentation.coco_maps import read_segment_ids
from datamodules.segmentation.files import Undecodable
from modules.contracts import DataError, regular

Content = dict[str, Any]
PARTS = ("images", "annotations", "categories")
NEEDS = "annotations/panoptic_train.json with PNGs in annotations/panoptic_train/, so too val and test"
SHOWN = 5  # ids in a sentence


class Png(NamedTuple):
    """Segments in a PNG: its height and width, and by id their compressed run lengths."""

    shape: tuple[int, int]
    runs: dict[int, str]


@dataclass
class Reading:
    """The json of a split while it is read.

    Args:
        file: the json.
        content: of it.
        numbers: class index of each category id.
        pngs: by image id the segments in its PNG, or the reason why it cannot be read.
        raw: images and segments.
        other_areas: a name for each segment whose area in the json is not that of its pixels.
    """

    file: Path
    content: Content
    numbers: dict[int, int]
    pngs: dict[int, Png | str]
    raw: Raw
    other_areas: list[str] = field(default_factory=list)


def read_panoptic(root: Path, on_error: OnError = "raise") -> tuple[Annotations, list[str]]:
    """Images and segments below a folder, and the names of the classes that are things.

    Segments of the json that the PNG lacks, and ids of the PNG that the json lacks, are refused; with `skip` the former
    are left out and the latter are void.

    Raises:
        DataError: as `PanopticFolder`; an id that one image has twice; a category that is not listed.
    """
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder")
    files = _find(root)
    if not files:
        raise DataError(f"{root} has no panoptic json, whose annotations have segments_info: that is {NEEDS}")
    contents = {split: _load(file) for split, file in files.items()}
    first = next(iter(files))
    known = _categories(contents[first], files[first])
    for split, file in files.items():
        if _categories(contents[split], file) != known:
            raise DataError(f"{file} has other categories than {files[first]}: use one set of them")
    classes, things = [name for name, _ in known.values()], [name for name, thing in known.values() if thing]
    numbers = {key: i for i, key in enumerate(known)}
    readings = [_read(root, file, contents[split], numbers) for split, file in files.items()]
    raws = dict(zip(files, (reading.raw for reading in readings), strict=True))
    found = merge(root, raws, classes, list(known), True, on_error)
    found.notes.extend(
        f"segments whose area in the json is not that of their pixels, which count: {len(names):,}, first {names[0]}"
        for names in (reading.other_areas for reading in readings)
        if names
    )
    return found, things


def _find(root: Path) -> dict[Split, Path]:
    """The json of each split; one alone, of whatever name, is training's."""
    named: dict[Split, list[Path]] = {}
    files = [
        f for pattern in ("*.json", "*/*.json") for f in sorted(root.glob(pattern)) if mentions(f, "segments_info")
    ]
    for file in files:
        if split := split_of(file, root):
            named.setdefault(split, []).append(file)
    if not named and len(files) == 1:
        return {"train": files[0]}
    return {split: one_of(named[split]) for split in ("train", "val", "test") if split in named}


def _load(file: Path) -> Content:
    try:
        content = json.loads(regular(file).read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{file} is no json that can be read ({error}): write it again") from error
    lacking = [part for part in PARTS if not isinstance(content, dict) or not isinstance(content.get(part), list)]
    if lacking:
        raise DataError(f"{file} is not COCO's: it has no list {' and no list '.join(lacking)}")
    for part in PARTS:
        for i, entry in enumerate(content[part]):
            key = "image_id" if part == "annotations" else "id"
            if not isinstance(entry, dict) or not isinstance(fields.integer(entry.get(key)), int):
                raise DataError(f"{file} {part}[{i}] has no whole number {key!r}, which COCO's have: mend the file")
            content[part][i] = entry | {k: fields.integer(entry[k]) for k in (key, "height", "width") if k in entry}
    return content


def _categories(content: Content, file: Path) -> dict[int, tuple[str, bool]]:
    """Name, and whether it is a thing, of each category by its id, ascending."""
    lacking = [i for i, category in enumerate(content["categories"]) if "isthing" not in category]
    if lacking:
        raise DataError(f"{file} categories[{lacking[0]}] has no 'isthing': write 1 for things and 0 for stuff")
    things = {category["id"]: fields.flag(category["isthing"]) for category in content["categories"]}
    return {key: (name, things[key]) for key, name in categories(content, file).items()}


def _read(root: Path, file: Path, content: Content, numbers: dict[int, int]) -> Reading:
    """Images of a json, with their segments as its PNGs have them."""
    of: dict[Any, int] = {}
    for k, annotation in enumerate(content["annotations"]):
        where = f"{file} annotations[{k}]"
        if not isinstance(annotation.get("segments_info"), list) or "file_name" not in annotation:
            raise DataError(f"{where} has no list 'segments_info' with a 'file_name': these are not panoptic")
        if of.setdefault(annotation["image_id"], k) != k:
            raise DataError(f"{where} is the second of image {annotation['image_id']}: keep one")
    named = {key: str(content["annotations"][k]["file_name"]) for key, k in of.items()}
    reading = Reading(file, content, numbers, _pngs(file.with_suffix(""), named), Raw(str(file), "segment {}"))
    places, rows = Places(image_folders(root, file)), set()
    for i, image in enumerate(content["images"]):
        check_entry(image, ("id", "file_name"), f"{file} images[{i}]")
        if image["id"] in rows:
            raise DataError(f"{file} images[{i}] has the id {image['id']}, which another image has: give each its own")
        rows.add(image["id"])
        _add(reading, i, image, of.get(image["id"]), places)
    reading.raw.orphans.extend(
        f"{file} annotations[{k}] is of image_id {key!r}, which its images lack"
        for key, k in of.items()
        if key not in rows
    )
    return reading


def _pngs(folder: Path, named: dict[Any, str]) -> dict[Any, Png | str]:
    """The segments in each PNG by the id of its image, or the reason why it cannot be read; cached on disk."""
    paths = {key: spelled(folder, posix(name)) for key, name in named.items()}
    there = {key: path for key, path in paths.items() if path}

    def read_all() -> list[Any]:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            return list(threads.map(_read_png, there.values()))

    found = cached("segments", digest(map(stamp, there.values())), read_all)
    pngs: dict[Any, Png | str] = {key: f"has no PNG {folder / named[key]}" for key, path in paths.items() if not path}
    for key, one in zip(there, found, strict=True):
        pngs[key] = one if isinstance(one, str) else Png((one[0][0], one[0][1]), dict(one[1]))
    return pngs


def _read_png(path: Path) -> str | list[Any]:
    """Height and width, and pairs of id and run lengths, as plain JSON; a reason why it cannot be read."""
    try:
        numbers = read_segment_ids(path)
    except Undecodable as error:
        return f"has a PNG that is damaged: {error}"
    height, width = numbers.shape
    runs = (
        (key, run_lengths({"size": [height, width], "counts": counts}, height, width)[0].decode())
        for key, counts in instances(numbers).items()
    )
    return [[height, width], [*runs]]


def _add(reading: Reading, row: int, image: dict[str, Any], k: int | None, places: Places) -> None:
    """Add an image and its segments."""
    file, raw = reading.file, reading.raw
    where, path = f"{file} images[{row}] ({image['file_name']})", places.find(str(image["file_name"]))
    png = f"has no annotation in {file}" if k is None else reading.pngs[image["id"]]
    if k is None or isinstance(png, str):
        raw.images.append(Image(where, path, str(file), None, image["id"], str(png)))
        return
    annotation, shape = reading.content["annotations"][k], shape_of(image, where)
    name = file.with_suffix("") / str(annotation["file_name"])
    flaw = None
    if shape and tuple(shape) != png.shape:
        sizes = f"{shape[1]} x {shape[0]} pixels, but its PNG has {png.shape[1]} x {png.shape[0]}"
        flaw = f"is annotated as {sizes}"
    raw.images.append(Image(f"{where}, with its PNG {name},", path, str(file), png.shape, image["id"], flaw))
    if flaw:
        return
    segments = list(_segments(reading, annotation, f"{file} annotations[{k}] ({name})"))
    known = [segment["id"] for segment in segments]
    if unknown := png.runs.keys() - set(known):
        raw.orphans.append(f"{name} has {_ids(unknown)}, which {file} annotations[{k}] lacks")
    for segment in segments:
        if segment["id"] not in png.runs:
            raw.orphans.append(f"{file} annotations[{k}] has {_ids([segment['id']])}, of which {name} has no pixel")
            continue
        rle = {"size": list(png.shape), "counts": png.runs[segment["id"]].encode()}
        area, crowd = fields.real(segment.get("area")), fields.flag(segment.get("iscrowd"))
        if area is not None and area != coco.area(rle):
            reading.other_areas.append(f"{file} annotations[{k}] segment {segment['id']}")
        label = reading.numbers[segment["category_id"]]
        raw.objects.append(Object(row, segment["id"], None, label, crowd, None, rle))


def _segments(reading: Reading, annotation: dict[str, Any], where: str) -> Iterable[dict[str, Any]]:
    """Checked segments of an annotation, in its order."""
    known = set()
    for j, given in enumerate(annotation["segments_info"]):
        check_entry(given, ("id", "category_id"), f"{where} segments_info[{j}]")
        number, category = given["id"], fields.integer(given["category_id"])
        if number in known:
            raise DataError(f"{where} has the segment {number} twice: ids tell segments apart, give each its own")
        known.add(number)
        if not isinstance(category, int) or category not in reading.numbers:
            raise DataError(f"{where} segment {number} has category_id {category!r}, which the categories lack: add it")
        yield given | {"category_id": category}


def _ids(numbers: Iterable[int]) -> str:
    """Ids in words, the first few of many."""
    ids = sorted(numbers)
    more = f" and {len(ids) - SHOWN:,} more" if len(ids) > SHOWN else ""
    return f"segment{'s' * (len(ids) > 1)} {', '.join(map(str, ids[:SHOWN]))}{more}"
