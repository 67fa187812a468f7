"""Detection of a folder's annotation format: COCO, Pascal VOC, YOLO, csv or id-PNGs."""

from pathlib import Path
from typing import Literal, NamedTuple

from datamodules.detection.formats import coco, id_pngs, tables, voc, yolo, yolo_layout
from modules.contracts import DataError

Format = Literal["coco", "voc", "yolo", "csv", "png"]
NAMES: dict[Format, str] = {
    "coco": "COCO json",
    "voc": "Pascal VOC xml",
    "yolo": "YOLO txt",
    "csv": "csv",
    "png": "id-PNGs",
}
NEEDS = {"coco": coco.NEEDS, "voc": voc.NEEDS, "yolo": yolo.NEEDS, "csv": tables.NEEDS, "png": id_pngs.NEEDS}


class Found(NamedTuple):
    """A format, and a sentence for the startup summary."""

    format: Format
    sentence: str


def detect(root: Path) -> Found:
    """Detect the format of the annotations below a folder: of several the first of COCO, VOC, YOLO, csv and id-PNGs.

    Raises:
        DataError: no such folder; no format fits (names the files that each needs); one fits, but cannot be used.
    """
    if not root.is_dir():
        raise DataError(f"data.root {root} is not a folder")
    places, errors = {}, []
    for kind in NAMES:
        try:
            if place := _place(root, kind):
                places[kind] = place
        except DataError as error:
            errors.append(error)
    if not places and errors:
        raise errors[0]
    if not places:
        needs = "; ".join(f"{NAMES[kind]}: {NEEDS[kind]}" for kind in NAMES)
        misses = "".join(f"; {miss}" for miss in (coco.miss(root), tables.miss(root)) if miss)
        raise DataError(f"{root} has annotations in none of the known formats ({needs}){misses}")
    (first, place), *others = places.items()
    more = "".join(f"; {NAMES[kind]} in {where} too, read by --data.format {kind}" for kind, where in others)
    return Found(first, f"found {NAMES[first]} in {place}{more}")


def _place(root: Path, kind: Format) -> str:
    """Paths of the annotations of a format, for messages; empty if there are none."""
    match kind:
        case "coco":
            return ", ".join(map(str, coco.find(root).values()))
        case "voc":
            files = (file for split in voc.find(root).values() for file in split.values())
            return str(next(files).parent) if any(voc.find(root).values()) else ""
        case "yolo":
            layout = yolo_layout.find(root)
            return str(layout.file) if layout else ""
        case "csv":
            return ", ".join(map(str, tables.find(root).values()))
        case "png":
            return ", ".join(str(folders.masks) for folders in id_pngs.find(root).values())
