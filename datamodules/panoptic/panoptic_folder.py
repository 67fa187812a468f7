"""COCO's panoptic layout: a json of segments beside PNGs of their ids."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.detection.objects import ObjectFiles
from datamodules.inspection import pixel_limit
from datamodules.panoptic.coco_panoptic import read_panoptic
from datamodules.panoptic.panoptic_data import PanopticDataModule
from datamodules.setting_roles import Role


class PanopticFolder(PanopticDataModule):
    """Images with segments below a folder, in COCO's panoptic layout (Kirillov et al. 2019).

    `root/annotations/panoptic_train*.json`, so too `val` and `test`, lists images, segments and categories; the PNGs
    of segment ids, red + 256 green + 65536 blue, lie in a folder of the json's name beside it, and the images in
    `root/images`, `root/train2017` or the like. Id 0 is void. Classes are the categories in order of their ids.

    Args:
        root: the folder.

    Raises:
        DataError: nothing of this layout there; a PNG with ids that its json lacks, or the other way round; files that
            are missing, damaged or of another size than their image.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str, **kwargs):
        super().__init__(**kwargs)
        with pixel_limit(self.max_pixels):
            found, self.things = read_panoptic(Path(root).expanduser(), self.on_error)
        self.classes, self.category_ids, self.image_ids = found.classes, found.category_ids, found.image_ids
        self.dropped, self.skipped, self._splits = found.dropped, [*found.skipped], found.splits
        self.remarks = found.report()

    def sources(self) -> dict[Split, ObjectFiles]:
        return self._splits
