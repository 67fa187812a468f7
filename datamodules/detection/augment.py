"""Augmentation of images with boxes and masks: large-scale jitter, IoU crop, mosaic, copy-paste, recipes."""

from dataclasses import replace
from typing import Any

import albumentations as A
import cv2
import numpy as np
from albumentations.augmentations.crops.transforms import CropSizeError
from albumentations.core.bbox_utils import BboxProcessor, filter_bboxes

from datamodules.augment import RECIPES, Chances, Keyed, Recipe, check_result, recipe_transforms
from datamodules.detection.crop_resize import Shown, clip, crop_and_resize, drop_degenerate, overlapping_part
from datamodules.detection.mixing import SMALLEST, mosaic, paste
from datamodules.detection.objects import PROPOSAL, Objects, ObjectSource
from datamodules.letterbox import TargetSize, fit_scale, fitted
from datamodules.segmentation.augment import check_nearest, leaves, span
from modules.contracts import ConfigError

PASTED = 0.5  # the chance of each object of the other image in copy-paste


class ObjectAugment(Keyed):
    """Large-scale jitter, IoU crop, mosaic and copy-paste, then a recipe; every draw is a function of the key.

    Args:
        target_size: height and width that the whole image fits into at scale 1; null is each image's own.
        scale: range of the scale; larger images are cropped to their size at scale 1 (large-scale jitter).
        iou_crop: probability of SSD's IoU crop, before the scale.
        mosaic: probability of a mosaic with three other images.
        copy_paste: probability that objects of another image are laid over this one.
        recipe: a name from RECIPES or albumentations transforms that move boxes, and masks if there are any.
        visible: share of an object that has to stay visible, 0..1.
        masks: return masks too.

    Raises:
        ConfigError: the transforms do not work on images with objects.
    """

    def __init__(
        self,
        target_size: TargetSize,
        scale: tuple[float, float],
        iou_crop: float,
        mosaic: float,
        copy_paste: float,
        recipe: Recipe | list[A.BasicTransform],
        visible: float,
        masks: bool,
    ):
        own = isinstance(recipe, list)
        chances = Chances(flip=0.0) if own else RECIPES[recipe]
        self.flip = chances.flip  # applied to each image of a mosaic by itself
        plain = replace(chances, flip=0.0)
        transforms = recipe_transforms(recipe, 0) if own else plain.transforms(_side(target_size), geometric=False)
        for transform in leaves(transforms):
            check_nearest(transform)
        self.moves = any(isinstance(transform, A.DualTransform) for transform in leaves(transforms))
        boxes = A.BboxParams("pascal_voc", min_visibility=visible, clip=True) if self.moves else None
        super().__init__(transforms, boxes)
        if boxes:
            visibility = Visible(boxes)
            self.transforms.processors["bboxes"], self.transforms.check_each_transform = visibility, (visibility,)
        self.target_size, self.scale = target_size, scale
        self.iou_crop, self.mosaic, self.copy_paste = iou_crop, mosaic, copy_paste
        self.visible, self.masks = visible, masks
        self.flipped: np.ndarray | None = None

    def swap_keypoints(self, flipped: np.ndarray) -> None:
        """Let flips put the keypoints of these indices (K,) in the places of all: left for right."""
        self.flipped = flipped

    def __call__(self, source: ObjectSource, indices: np.ndarray, index: int, *key: int) -> dict[str, Any]:
        """Image `index` of `source`, mixed with others of `indices`.

        `image` (H, W, 3), `boxes`, `labels`, `keypoints` if there are any, `masks` if wanted, `size` of the original
        and `inside`, both (height, width).
        """
        random, size = self.seed(*key), source.shape(index)
        room = fitted(size, self.target_size) if self.target_size else size

        def partner() -> int:
            return int(indices[random.integers(len(indices))])

        if random.random() < self.mosaic and min(room) >= SMALLEST:
            chosen = [index, *(partner() for _ in range(3))]
            shown = mosaic(room, lambda i, tile: self._view(source, chosen[i], tile, random), random)
        else:
            shown = self._view(source, index, room, random, random.random() < self.iou_crop)
        if random.random() < self.copy_paste:
            other = self._view(source, partner(), room, random)
            shown = paste(shown, other, random.random(len(other.boxes)) < PASTED, self.visible)
        shown = self._recipe(shown)
        sample = {"image": shown.image, "boxes": shown.boxes, "labels": shown.labels}
        sample |= {"size": size, "inside": shown.image.shape[:2]}
        sample |= {} if shown.keypoints is None else {"keypoints": shown.keypoints}
        return sample | ({"masks": shown.masks} if self.masks else {})

    def _view(
        self,
        source: ObjectSource,
        index: int,
        room: tuple[int, int],
        random: np.random.Generator,
        cropped: bool = False,
    ) -> Shown:
        """An image scaled and cropped.

        Args:
            room: largest height and width of the result.
            cropped: apply SSD's IoU crop first; scale 1 then fits the crop into the room.
        """
        image, objects = source.image(index), to_find(source.objects(index))
        left, top, right, bottom = 0, 0, image.shape[1], image.shape[0]
        if cropped:
            left, top, right, bottom = overlapping_part(
                image.shape[:2], objects.boxes[objects.labels != PROPOSAL], random
            )
        scale, *places, mirrored = random.random(4)
        scale = self.scale[0] + (self.scale[1] - self.scale[0]) * scale
        whole = room if cropped else self.target_size
        scale *= fit_scale((bottom - top, right - left), whole) if whole else 1
        spans = []
        for start, stop, limit, place in ((top, bottom, room[0], places[0]), (left, right, room[1], places[1])):
            length = stop - start
            if round(length * scale) <= limit:
                spans.append((start, stop, max(1, round(length * scale))))
            else:
                first, last, target = span(length, limit, scale, place, None)
                spans.append((start + first, start + last, target))
        return crop_and_resize(
            image, objects, *spans, self.masks or self.copy_paste > 0, self.visible, mirrored < self.flip, self.flipped
        )

    def _recipe(self, shown: Shown) -> Shown:
        if not self.transforms.transforms:
            return shown
        targets = self._targets(shown) if self.moves else {}
        try:
            result = self.transforms(image=shown.image, **targets)
        except (ValueError, NotImplementedError, CropSizeError, cv2.error) as error:
            height, width = shown.image.shape[:2]
            where = f"an image of {width} x {height} pixels with {len(shown.boxes)} objects"
            raise ConfigError(f"data.augment does not work on {where}: {error}") from error
        image = result["image"]
        check_result(image, image.shape[:2])
        if not self.moves:
            return shown._replace(image=image)
        boxes = np.asarray(result["bboxes"]).reshape(-1, 5)  # albumentations forgets the fifth column of none
        kept = boxes[:, 4].astype(np.int64)
        kept = np.where(kept < 0, ~kept, kept)
        if "masks" in targets:
            kept = np.unique(kept)  # a box may have been torn to pieces, its mask not
            return drop_degenerate(
                Shown(image, shown.boxes[kept], shown.labels[kept], np.asarray(result["masks"])[kept])
            )
        masks = None if shown.masks is None else np.zeros((0, *image.shape[:2]), np.uint8)
        return drop_degenerate(Shown(image, clip(boxes[:, :4], image.shape[:2]), shown.labels[kept], masks))

    def _targets(self, shown: Shown) -> dict[str, np.ndarray]:
        """Boxes with their number n, of proposals ~n, as a fifth column, and masks if there are any.

        albumentations fails without.
        """
        number = np.arange(len(shown.boxes))
        number = np.where(shown.labels == PROPOSAL, ~number, number).astype(np.float32)
        return {"bboxes": np.concatenate([shown.boxes, number[:, None]], 1)} | (
            {} if shown.masks is None or not len(shown.masks) else {"masks": shown.masks}
        )


class Visible(BboxProcessor):
    """Box processor of albumentations that exempts boxes with a negative fifth column from `min_visibility`."""

    def filter(self, data: np.ndarray, shape: Any) -> np.ndarray:
        data = data.reshape(-1, 5)
        proposals = data[:, 4] < 0
        parts = (super().filter(data[~proposals], shape), filter_bboxes(data[proposals], shape))
        return np.concatenate([part.reshape(-1, 5) for part in parts])


def to_find(objects: Objects) -> Objects:
    """Drop crowds, which are no training targets."""
    return objects.only(~objects.crowd)


def _side(target_size: TargetSize) -> int:
    """Shorter side of the target size, which decides on blur; very large without one."""
    return min(target_size) if target_size else 1 << 16
