"""CamVid as SegNet's authors prepared it."""

from pathlib import Path
from typing import ClassVar

from datamodules.base import Split
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.segmentation.pair_files import in_folders, in_list, to_pairs
from datamodules.setting_roles import Role
from modules.contracts import IGNORE, DataError
from modules.contracts.palette import RGB

CLASSES: dict[str, RGB] = {
    "sky": (128, 128, 128),
    "building": (128, 0, 0),
    "pole": (192, 192, 128),
    "road": (128, 64, 128),
    "pavement": (60, 40, 222),
    "tree": (128, 128, 0),
    "sign": (192, 128, 128),
    "fence": (64, 64, 128),
    "car": (64, 0, 128),
    "pedestrian": (64, 64, 0),
    "bicyclist": (0, 128, 192),
}
VOID = len(CLASSES)
SPLITS: tuple[Split, ...] = ("train", "val", "test")


class CamVid(MaskDataModule):
    """CamVid: 367 + 101 + 233 street scenes from a car, 480 x 360 pixels, 11 classes and void (Brostow et al. 2009).

    As SegNet's authors prepared it: `root/train/*` with masks in `root/trainannot/*`, so too `val` and `test`; where
    `root/train.txt` and the others list the pairs, the lists decide.

    Args:
        root: the folder.

    Raises:
        DataError: nothing of this layout there, or files that are missing.
    """

    palette = list(CLASSES.values())

    roles: ClassVar[dict[str, Role]] = {"root": "location"}

    def __init__(self, root: str = "data/camvid", **kwargs):
        super().__init__(**kwargs)
        self.root, self.classes = Path(root).expanduser(), list(CLASSES)

    def sources(self) -> dict[Split, Pairs]:
        legend, found = Legend(tuple(range(VOID)), frozenset({VOID, IGNORE})), {}
        for split in SPLITS:
            file, images, masks = (self.root / name for name in (f"{split}.txt", split, f"{split}annot"))
            if file.is_file():
                found[split] = in_list(file, self.root)
            elif images.is_dir() and masks.is_dir():
                found[split] = in_folders(images, masks)
        if not found:
            raise DataError(f"{self.root} is no CamVid: neither a list train.txt nor folders train and trainannot")
        return {split: to_pairs(self.root, paths, legend) for split, paths in found.items()}
