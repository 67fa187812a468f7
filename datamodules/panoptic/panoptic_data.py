"""Base of the data modules for panoptic segmentation."""

from dataclasses import replace
from typing import Any, ClassVar, cast

import albumentations as A
from torch.utils.data import Dataset

from datamodules.augment import Recipe
from datamodules.base import Purpose, Split
from datamodules.detection.object_data import ObjectDataModule
from datamodules.detection.objects import ObjectFiles
from datamodules.detection.samples import ObjectDataset
from datamodules.panoptic.baselines import constant_answer, pixels_of_classes
from datamodules.panoptic.samples import LetterboxedSegments, collate_segments
from datamodules.setting_roles import Role
from modules.contracts.data_info import DataInfo


class PanopticDataModule(ObjectDataModule):
    """Base of the data modules of images with segments: things, which are told apart, and stuff, which is not.

    Images keep their aspect ratio; those of a batch are padded at the right and bottom to the largest of them, to
    multiples of 32 pixels. Void pixels, padding and crowds count for no loss.

    Args:
        image_size: height and width that images are fitted into, in pixels; one number is a square; null keeps each
            image's own size.
        augment: `none`, `flip`, `simclr` (flip, color jitter, gray, blur above 64 pixels), `strong` (the same with any
            hue), or albumentations transforms, which move segments too.
        scale: range of the random scale of training images, 1 being fitted into `image_size`; larger ones are cropped
            (large-scale jitter: [0.1, 2.0]).
    """

    things: list[str] | None = None
    objects = "segments"

    fixed: ClassVar[set[str]] = {"masks", "copy_paste", "min_visibility", "proposals"}
    roles: ClassVar[dict[str, Role]] = {"image_size": "input", "augment": "training", "scale": "training"}

    def __init__(
        self,
        image_size: int | tuple[int, int] | None = 512,
        augment: Recipe | list[A.BasicTransform] = "flip",
        scale: tuple[float, float] = (1.0, 1.0),
        **kwargs,
    ):
        super().__init__(
            image_size=image_size,
            masks=True,
            augment=augment,
            scale=scale,
            copy_paste=0.0,
            min_visibility=0.0,
            proposals=None,
            **kwargs,
        )

    collate = staticmethod(collate_segments)

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        if purpose != "evaluate" or split not in self.splits:
            return super().dataset(split, purpose)
        source, indices = self.splits[split]
        size = None if self.original_size else self.target_size
        return ObjectDataset(cast(Any, source), indices, LetterboxedSegments(size), 0, self.on_error == "skip")

    @property
    def thing_classes(self) -> list[bool]:
        """True for each class that is a thing."""
        return [name in (self.things or ()) for name in self.classes]

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), things=self.things)

    def baselines(self) -> dict[str, float]:
        """PQ of a constant answer on val, or test without val: the whole image is the most frequent training class."""
        evaluated = self.evaluation_split
        if evaluated is None or "train" not in self.splits:
            return {}
        (known, rows), (source, indices) = (self.splits[split] for split in ("train", evaluated))
        chosen = int(pixels_of_classes(cast(ObjectFiles, known), rows, len(self.classes)).argmax())
        return {"constant": constant_answer(cast(ObjectFiles, source), indices, self.thing_classes, chosen)}

    def more(self) -> list[str]:
        things = sum(self.thing_classes)
        return [f"classes: {things} of things, {len(self.classes) - things} of stuff", *super().more()]

    def _describe_baselines(self) -> list[str]:
        words = f"PQ without a network on {self.evaluation_split}"
        return [f"{words}: {value:.3f} for the most frequent class everywhere" for value in self.baselines().values()]
