"""Pascal VOC segmentation."""

from pathlib import Path
from typing import ClassVar, Literal

import torchvision

from datamodules.base import Split
from datamodules.pairs import Legend, Pairs
from datamodules.segmentation.mask_data import MaskDataModule
from datamodules.segmentation.pair_files import in_names, to_pairs
from datamodules.setting_roles import Role
from modules.contracts import DataError
from modules.contracts.palette import palette

CLASSES = (
    "background aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike person "
    "pottedplant sheep sofa train tvmonitor"
).split()


class VOCSegmentation(MaskDataModule):
    """Pascal VOC's segmentation: 20 classes and background, 255 along outlines (Everingham et al. 2010).

    The development kit's layout: JPEGImages, SegmentationClass and ImageSets/Segmentation/{train,val,test}.txt.

    Args:
        root: the folder that holds (or gets) `VOCdevkit/VOC<year>`, or that folder itself.
        year: of the challenge; 2007's test masks are public too.
        download: fetch it when it is missing, 2 GB for 2012.

    Raises:
        DataError: the data set is not there, or not whole.
    """

    roles: ClassVar[dict[str, Role]] = {"root": "location", "year": "samples", "download": "samples"}

    def __init__(
        self,
        root: str = "data",
        year: Literal["2007", "2008", "2009", "2010", "2011", "2012"] = "2012",
        download: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.root, self.year, self.download = Path(root).expanduser(), year, download
        self.classes, self.palette = CLASSES, palette(len(CLASSES))

    def prepare_data(self) -> None:
        if not self.download or self._folder():
            return
        for image_set in ("train", "test") if self.year == "2007" else ("train",):
            try:
                torchvision.datasets.VOCSegmentation(str(self.root), self.year, image_set, download=True)
            except (RuntimeError, OSError, ValueError) as error:
                raise DataError(f"Pascal VOC {self.year} cannot be fetched into {self.root}: {error}") from error

    def sources(self) -> dict[Split, Pairs]:
        folder = self._folder()
        if folder is None:
            raise DataError(
                f"Pascal VOC {self.year} is not in {self.root}: add --data.download true, or point --data.root to it"
            )
        legend, found = Legend(tuple(range(len(CLASSES)))), {}
        for split in ("train", "val", "test"):
            file = folder / "ImageSets" / "Segmentation" / f"{split}.txt"
            if file.is_file():
                paths = in_names(file, folder / "JPEGImages", folder / "SegmentationClass")
                found[split] = to_pairs(folder, paths, legend)
        return found

    def _folder(self) -> Path | None:
        """The folder of the year, as the kit, torchvision or the user have it."""
        name = f"VOC{self.year}"
        places = (self.root / "VOCdevkit" / name, self.root / "TrainVal" / "VOCdevkit" / name, self.root / name)
        lists = "ImageSets/Segmentation"
        return next((place for place in (*places, self.root) if (place / lists / "train.txt").is_file()), None)
