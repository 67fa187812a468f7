"""Base of the data modules for object detection and instance segmentation."""

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar, cast

import albumentations as A
import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.augment import Recipe, center_square
from datamodules.base import Purpose, Split
from datamodules.detection.augment import ObjectAugment
from datamodules.detection.baselines import without_network
from datamodules.detection.box_statistics import box_sizes, histogram, object_counts, shape_groups, tally
from datamodules.detection.keypoints import check_moves, in_words
from datamodules.detection.objects import ObjectFiles
from datamodules.detection.proposals import Proposals, WithProposals, about_proposals, read_proposals
from datamodules.detection.samples import LetterboxedObjects, ObjectDataset, collate_objects
from datamodules.image_files import ImageFilesData
from datamodules.letterbox import as_target_size, check_scale, sizes_in_words
from datamodules.samples import ImageDataset
from datamodules.setting_roles import Role
from datamodules.source import Files
from datamodules.tiles import ObjectTiles, tiling
from modules.contracts import Batch, ConfigError, DataError, check_range
from modules.contracts.data_info import DataInfo
from modules.contracts.keypoints import KeypointLayout
from modules.contracts.preprocessing import Preprocessing


class ObjectDataModule(ImageFilesData):
    """Base of the data modules of images with objects: boxes and classes, and perhaps masks.

    Images keep their aspect ratio; those of a batch are padded at the right and bottom to the largest of them, to
    multiples of 32 pixels. Training batches hold images of similar shape (aspect-ratio grouping). Crowds are no
    training targets.

    Args:
        image_size: height and width that images are fitted into, in pixels; one number is a square; null keeps each
            image's own size.
        masks: load masks too, for instance segmentation.
        keypoints: load keypoints too, for `tasks/keypoints.yaml`.
        flip_pairs: names of two keypoints each that a flip swaps; null takes those whose names differ in `left` and
            `right` alone.
        augment: `none`, `flip`, `simclr` (flip, color jitter, gray, blur above 64 pixels), `strong` (the same with any
            hue), or albumentations transforms, which move boxes and masks too.
        scale: range of the random scale of training images, 1 being fitted into `image_size`; larger ones are cropped
            (large-scale jitter: [0.1, 2.0]).
        iou_crop: probability 0..1 of SSD's IoU crop: first crop to a random part that overlaps with an object.
        mosaic: probability 0..1 that four training images become one.
        copy_paste: probability 0..1 that objects of another training image are laid over this one; needs data with
            masks.
        min_visibility: share 0..1 of an object that augmentation must leave visible; others are dropped.
        tile_size: side in pixels of the overlapping tiles that training images are cut into, each a sample with the
            objects in it; null takes whole images. Images keep their own size (`image_size` null).
        tile_overlap: share of a tile that neighbors have in common, at least, [0, 1).
        empty_tiles: share 0..1 of the tiles without an object that are kept.
        proposals: json file of region proposals as `predict` and `test` write it, for the heads FastRCNN and RCNN; it
            covers the images of all splits that are used, and an image that it lacks has no proposals.
        batch_size: samples per device and step.

    Raises:
        ConfigError: a setting out of range, or transforms that do not work.
        DataError: masks are asked for, but there are none.
    """

    classes: list[str]
    category_ids: list[int]
    letterbox = True
    objects: ClassVar[str] = "objects"  # the word for what is annotated

    roles: ClassVar[dict[str, Role]] = {
        "image_size": "input",
        "masks": "input",
        "keypoints": "input",
        "flip_pairs": "training",
        "augment": "training",
        "scale": "training",
        "iou_crop": "training",
        "mosaic": "training",
        "copy_paste": "training",
        "min_visibility": "training",
        "tile_size": "training",
        "tile_overlap": "training",
        "empty_tiles": "training",
        "proposals": "samples",
    }

    def __init__(
        self,
        image_size: int | tuple[int, int] | None = 640,
        masks: bool = False,
        keypoints: bool = False,
        flip_pairs: list[list[str]] | None = None,
        augment: Recipe | list[A.BasicTransform] = "flip",
        scale: tuple[float, float] = (1.0, 1.0),
        iou_crop: float = 0.0,
        mosaic: float = 0.0,
        copy_paste: float = 0.0,
        min_visibility: float = 0.1,
        tile_size: int | None = None,
        tile_overlap: float = 0.25,
        empty_tiles: float = 1.0,
        proposals: str | None = None,
        batch_size: int = 8,
        **kwargs,
    ):
        super().__init__(batch_size=batch_size, **kwargs)
        check_scale(scale)
        chances = {"iou_crop": iou_crop, "mosaic": mosaic, "copy_paste": copy_paste}
        for name, value in chances.items():
            check_range(f"data.{name}", value, high=1)
        if not 0 <= min_visibility < 1:
            raise ConfigError(f"data.min_visibility is {min_visibility:g}, but it is a share, 0 to below 1")
        moved = {"masks": masks, "keypoints": keypoints, "copy_paste": copy_paste, "tile_size": tile_size}
        if proposals and (name := next((name for name, value in moved.items() if value), None)):
            raise ConfigError(f"data.proposals do not go with data.{name}: leave one of them out")
        self.tiling = tiling(tile_size, tile_overlap, as_target_size(image_size), empty_tiles)
        self.target_size, self.masks, self.proposals = as_target_size(image_size), masks, proposals
        self.keypoints, self.flip_pairs = keypoints, flip_pairs
        self.layout: KeypointLayout | None = None
        self.given: Proposals = {}
        self.augmented = ObjectAugment(
            self.target_size, tuple(scale), **chances, recipe=augment, visible=min_visibility, masks=masks
        )
        check_moves(keypoints and self.augmented.moves)
        self.plain = center_square(self.target_size)
        self.image_ids: dict[str, int] = {}
        self.remarks: list[str] = []  # further lines of the readers

    collate = staticmethod(collate_objects)

    def sources(self) -> dict[Split, ObjectFiles]:
        raise NotImplementedError

    def image_files(self, source: ObjectFiles) -> Files | None:
        return super().image_files(source.files)

    def with_image_files(self, source: ObjectFiles, files: Files) -> ObjectFiles:
        return replace(source, files=files)

    def setup(self, stage: str | None = None) -> None:
        if self.splits:
            return
        super().setup(stage)
        if "train" in self.splits and not len(self.box_sizes()):
            raise DataError(
                f"none of the {len(self.splits['train'][1]):,} training images shows an object, crowds aside: "
                f"raise data.label_fraction or data.num_labels, lower data.val_split, or annotate more"
            )
        if any(source.counts is None for source, _ in self.splits.values()):
            if self.augmented.copy_paste:
                raise ConfigError("data.copy_paste cuts objects out by their masks, but the data has none: set it to 0")
            if self.masks:
                raise DataError("data.masks is true, but the data has boxes only: set it to false")
        if self.keypoints and self.layout is None:
            raise DataError("data.keypoints is true, but the data has none: set it to false")
        if self.layout:
            self.augmented.swap_keypoints(self.layout.flipped)
        if self.proposals:
            self.given, unknown = read_proposals(
                Path(self.proposals).expanduser(), self.image_ids, self.on_error == "skip"
            )
            images = {source.id(i) for source, indices in self.splits.values() for i in indices}
            self.remarks.append(about_proposals(self.given, self.proposals, images, unknown))
        if self.trainer and self.trainer.is_global_zero:
            self.write_list("dropped.txt", self.dropped)

    def dataset(self, split: Split, purpose: Purpose) -> Dataset | None:
        """The samples of a split; `plain` is the center crop, of the shorter side of `image_size`, or 224 pixels."""
        if split not in self.splits:
            return None
        (source, indices), skip = self.splits[split], self.on_error == "skip"
        if purpose == "plain":
            return ImageDataset(source, indices, [self.plain], 0, skip)
        if self.proposals:
            source = WithProposals(source, self.given)
        if purpose == "evaluate":
            size = None if self.original_size else self.target_size
            return ObjectDataset(source, indices, LetterboxedObjects(size, self.masks), 0, skip)
        source, indices = (source, indices) if self.tiles is None else (self.tiles, np.arange(len(self.tiles)))
        return ObjectDataset(source, indices, self.augmented, self.seed, skip)

    @cached_property
    def tiles(self) -> ObjectTiles | None:
        """The tiles of the training images, to be had after `setup`; null for whole images."""
        objects = self.augmented.visible, self.seed
        return self.tiling.objects(*self.splits["train"], *objects) if self.tiling else None

    @property
    def preprocessing(self) -> Preprocessing:
        return Preprocessing("letterbox", self.target_size)

    def kinds(self) -> np.ndarray | None:
        """Aspect-ratio groups, int64 (N,): images of one group differ in their sides by about a fourth at most.

        Null if all are of one group.
        """
        source, indices = cast(tuple[ObjectFiles, np.ndarray], self.splits["train"])
        shapes = source.shapes[indices] if self.tiles is None else self.tiles.shapes
        kinds = shape_groups(shapes, self.target_size)
        return kinds if (kinds != kinds[0]).any() else None

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move all but `truth`, which is for metrics on the host."""
        rest = {key: value for key, value in batch.items() if key != "truth"}
        moved = super().transfer_batch_to_device(rest, device, dataloader_idx)
        return moved | ({"truth": batch["truth"]} if "truth" in batch else {})

    def data_info(self) -> DataInfo:
        shared, proposed = super().data_info(), self.proposals is not None
        found = {"masks": self.masks, "keypoints": self.layout, "proposals": proposed, "box_sizes": self.box_sizes}
        return replace(shared, **found, object_counts=self.object_counts)

    def box_sizes(self) -> np.ndarray | None:
        """Width and height of training objects, float64 (N, 2) in pixels that the network sees; null without any."""
        return box_sizes(*self.splits["train"], self.target_size) if "train" in self.splits else None

    def object_counts(self) -> np.ndarray | None:
        """Objects of each training image, int64 (N,); null without any."""
        return object_counts(*self.splits["train"]) if "train" in self.splits else None

    def baselines(self) -> dict[str, float]:
        """AP50 of the trivial baselines in `without_network`, on val, or test without val."""
        evaluated = self.evaluation_split
        if evaluated is None or "train" not in self.splits:
            return {}
        return without_network(self.splits["train"], self.splits[evaluated], len(self.classes))

    def about(self, split: Split) -> str:
        source, indices = self.splits[split]
        found, sizes = tally(source, indices, len(self.classes)), sizes_in_words(source.shapes[indices])
        crowds = f" and {found.crowds:,} marked as crowd" if found.crowds else ""
        empty = f"; without any: {len(found.empty):,}, first {source.id(found.empty[0])}" if len(found.empty) else ""
        return f" of {sizes} pixels with {found.objects.sum():,} {self.objects}{crowds}{empty}"

    def more(self) -> list[str]:
        lines = [*self.remarks]
        if "train" in self.splits:
            lines += histogram(self.classes, tally(*self.splits["train"], len(self.classes)), "train", self.objects)
            few, middle, most = np.percentile(np.sqrt(self.box_sizes().prod(1)), [5, 50, 95])
            sizes = f"median {middle:.0f} pixels, 5 % below {few:.0f} and 5 % above {most:.0f}"
            lines += [self.tiles.about(len(self.splits["train"][1]))] if self.tiles is not None else []
            lines.append(f"width and height of {self.objects} as the network sees them: {sizes}")
        lines += in_words(self.layout, self.splits, self.augmented.flip > 0) if self.layout else []
        bare = [s for s in self.splits if not tally(*self.splits[s], len(self.classes)).objects.any()]
        lines += [f"{split} shows no object, so its metrics will be nan" for split in bare]
        return lines + self._describe_baselines()

    def _describe_baselines(self) -> list[str]:
        """Line of the startup summary about `baselines`, if there are some."""
        found = self.baselines()
        if not found or np.isnan(found["center"]):
            return []
        said = f"{found['center']:.3f} for a box in the center and {found['everywhere']:.3f} for boxes everywhere"
        return [f"AP50 without a network on {self.evaluation_split}: {said}"]
