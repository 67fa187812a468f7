"""A folder of images with annotated objects."""

from pathlib import Path
from typing import ClassVar, Literal

from datamodules.base import Split
from datamodules.detection.formats import Difficult, detect, read
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles
from datamodules.inspection import pixel_limit
from datamodules.setting_roles import Role
from modules.contracts.keypoints import layout


class DetectionFolder(ObjectDataModule):
    """Images with objects below a folder, annotated as COCO json, Pascal VOC xml, YOLO txt, csv or id-PNGs.

    Args:
        root: the folder.
        format: of the annotations; `auto` takes the first that is found: `coco`, `voc`, `yolo`, `csv` or `png`.
        classes: names, for formats that have no list of them (voc, csv, png); null takes those found.
        difficult: handling of objects that Pascal VOC marks as difficult: `ignore` leaves them out of training and out
            of the metrics, `keep` treats them like any other object.

    Raises:
        ConfigError: a setting that the format does not have.
        DataError: no annotations, or some that are wrong.
    """

    roles: ClassVar[dict[str, Role]] = {
        "root": "location",
        "format": "samples",
        "classes": "input",
        "difficult": "input",
    }

    def __init__(
        self,
        root: str,
        format: Literal["auto", "coco", "voc", "yolo", "csv", "png"] = "auto",
        classes: list[str] | None = None,
        difficult: Difficult = "ignore",
        **kwargs,
    ):
        super().__init__(**kwargs)
        folder, sentence = Path(root).expanduser(), ""
        if format == "auto" and self.keypoints:
            format = "coco"  # the one with keypoints, whose files have other names
        if format == "auto":
            format, sentence = detect(folder)
        masks = self.masks or self.augmented.copy_paste > 0
        with pixel_limit(self.max_pixels):
            found = read(folder, format, masks, self.on_error, difficult, classes, self.keypoints)
        if found.keypoints:
            self.layout = layout(found.keypoints.names, found.keypoints.skeleton, self.flip_pairs)
        self.classes, self.category_ids, self.image_ids = found.classes, found.category_ids, found.image_ids
        self.dropped, self.skipped, self._splits = found.dropped, [*found.skipped], found.splits
        self.remarks = [*([sentence] if sentence else []), *found.report()]

    def sources(self) -> dict[Split, ObjectFiles]:
        return self._splits
