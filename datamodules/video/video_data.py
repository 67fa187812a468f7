"""Base of the video classification data modules: clips, their augmentation and their views."""

from dataclasses import replace
from typing import ClassVar

import albumentations as A
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.augment import RECIPES, Augment, Recipe, check_area
from datamodules.base import Purpose, Split
from datamodules.samples import drawn_images
from datamodules.setting_roles import Role
from datamodules.split_data import SplitData
from datamodules.video.samples import FixedViews, RandomClip, VideoDataset, collate
from datamodules.video.sampling import Sampling
from modules.contracts import ConfigError, check_range
from modules.contracts.data_info import DataInfo
from modules.contracts.preprocessing import Preprocessing

MARGIN = 8 / 7  # ratio of the frames' shorter side to the crop's, as in 128 to 112 and 256 to 224


class VideoDataModule(SplitData):
    """Base of the data modules of videos with at most one class each.

    Batches have `video` uint8 (B V, 3, T, H, W), where V consecutive entries are the views of one video (`views` in
    training), `label` int64 (B,) and `id`.

    Args:
        frames: of a clip.
        image_size: side of the square clips that the network sees, in pixels.
        crop: range of the random crop's area in training as a fraction of the frames; null takes the center crop. One
            crop for all frames of a clip.
        augment: `none`, `flip`, `simclr` (flip, color jitter, gray, blur above 64 pixels), `strong` (the same with any
            hue), or albumentations transforms, applied after the crop; drawn once for all frames of a clip.
        flip: false leaves mirroring out of the recipes, for classes that mean a direction.
        views: clips of each video in training, each with frames, crop and colors of its own; 2 for contrastive
            pretraining, whose validation takes as many.
    """

    noun = "videos"
    crops = 1  # crops of each clip to evaluate

    roles: ClassVar[dict[str, Role]] = {
        "frames": "input",
        "image_size": "input",
        "crop": "input",  # also the size that frames are kept in
        "augment": "input",  # with several views of evaluation too
        "flip": "input",
        "views": "input",
    }

    def __init__(
        self,
        frames: int = 8,
        image_size: int = 112,
        crop: tuple[float, float] | None = None,
        augment: Recipe | list[A.BasicTransform] = "none",
        flip: bool = True,
        views: int = 1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_range("data.image_size", image_size, 1)
        check_range("data.views", views, 1)
        self.views = views
        check_area("crop", crop)
        self.image_size, self.sampling = image_size, Sampling(frames)
        self.side = round(MARGIN * image_size) if crop else image_size
        self.augment = Augment(image_size, crop, augment if flip else _unflipped(augment, image_size))

    collate = staticmethod(collate)

    @property
    def view_count(self) -> int:
        return self.views

    @property
    def sides(self) -> dict[str, int]:
        return {"data.image_size": self.image_size}

    @property
    def preprocessing(self) -> Preprocessing:
        """That of frames; their decoder already scales to this size by a method of its own."""
        return Preprocessing("center_crop", (self.image_size, self.image_size))

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), images=self.some_clips)

    def some_clips(self, count: int) -> Tensor | None:
        """Plain training clips uint8 (N, 3, T, H, W), up to `count` videos, drawn by the seed; null without any."""
        return drawn_images(self.dataset("train", "plain"), self.collate, self.seed, count)

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        if split not in self.splits:
            return None
        (source, indices), skip = self.splits[split], self.on_error == "skip"
        if purpose == "train" or (purpose == "evaluate" and self.views > 1):
            make = RandomClip(self.sampling, self.augment, self.side, self.seed, self.views)
            return VideoDataset(source, indices, make, skip)
        return VideoDataset(source, indices, FixedViews(self.sampling, self.crops, self.image_size), skip)


def _unflipped(augment: Recipe | list[A.BasicTransform], size: int) -> list[A.BasicTransform]:
    if isinstance(augment, str):
        return replace(RECIPES[augment], flip=0.0).transforms(size)
    raise ConfigError("data.flip false takes mirroring out of named recipes: leave it out of the list in data.augment")
