"""Annotations of objects in files: COCO json, Pascal VOC xml, YOLO txt, csv and id-PNGs."""

from pathlib import Path

from datamodules.detection.formats.coco import read_coco
from datamodules.detection.formats.detect import Format, Found, detect
from datamodules.detection.formats.id_pngs import read_id_pngs
from datamodules.detection.formats.images import OnError
from datamodules.detection.formats.tables import read_csv
from datamodules.detection.formats.voc import Difficult, read_voc
from datamodules.detection.formats.yolo import read_yolo
from datamodules.detection.objects import Annotations
from modules.contracts import ConfigError

__all__ = [
    "Difficult",
    "Format",
    "Found",
    "OnError",
    "detect",
    "read",
    "read_coco",
    "read_csv",
    "read_id_pngs",
    "read_voc",
    "read_yolo",
]


def read(
    root: Path,
    format: Format,
    masks: bool,
    on_error: OnError = "raise",
    difficult: Difficult = "ignore",
    classes: list[str] | None = None,
    keypoints: bool = False,
) -> Annotations:
    """Read and check the images and objects below a folder.

    Args:
        root: the folder.
        format: such as that of `detect`.
        masks: true if every object needs an outline.
        on_error: handling of images that are missing, damaged or of another size than annotated, and of objects
            without image: `raise` stops, `skip` leaves them out, counted and listed.
        difficult: of Pascal VOC: `ignore` makes difficult objects crowds, `keep` counts them.
        classes: of Pascal VOC, csv and id-PNGs, in the order of their indices; null takes what is found.
        keypoints: read keypoints, which COCO's files have.

    Raises:
        ConfigError: `difficult`, `classes` or `keypoints` for a format without it.
        DataError: as the format's reader.
    """
    if classes is not None and format in ("coco", "yolo"):
        raise ConfigError(f"data.classes is set, but {format} files name their own classes: remove it")
    if difficult != "ignore" and format != "voc":
        raise ConfigError(f"data.difficult is {difficult}, but {format} files mark nothing as difficult: remove it")
    if keypoints and format != "coco":
        raise ConfigError(f"data.keypoints is true, but {format} files are read without: convert them to COCO json")
    match format:
        case "coco":
            return read_coco(root, masks, on_error, keypoints)
        case "voc":
            return read_voc(root, masks, on_error, difficult, classes)
        case "yolo":
            return read_yolo(root, masks, on_error)
        case "csv":
            return read_csv(root, masks, on_error, classes)
        case "png":
            return read_id_pngs(root, masks, on_error, classes)
