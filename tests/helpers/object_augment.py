"""Augmentations of `rectangles` to try, and the indices of its images."""

import albumentations as A
import numpy as np

from datamodules.detection.augment import ObjectAugment

TARGET_SIZE = (128, 128)
EVERY = np.arange(8)
SETTINGS = {
    "whole": {},
    "flip": {"recipe": "flip"},
    "jitter": {"scale": (0.4, 2.0)},
    "larger": {"scale": (2.0, 2.0), "recipe": "flip"},
    "smaller": {"scale": (0.5, 0.5)},
    "iou crop": {"iou_crop": 1.0},
    "mosaic": {"mosaic": 1.0, "recipe": "flip"},
    "mosaic and jitter": {"mosaic": 1.0, "scale": (0.5, 1.5)},
    "own size": {"target_size": None, "scale": (0.7, 1.4), "recipe": "flip"},
    "mosaic of own sizes": {"target_size": None, "mosaic": 1.0},
    "transforms": {"recipe": [A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5), A.Transpose(p=0.5)]},
    "shifted": {"recipe": [A.Affine(translate_px=(-30, 30), scale=(0.8, 1.3), p=1)]},
    "another size": {"recipe": [A.RandomCrop(40, 50)], "scale": (1.0, 1.5)},
    "one of": {"recipe": [A.OneOf([A.D4(p=1), A.RandomRotate90(p=1)], p=1)]},
}


def augment(**settings) -> ObjectAugment:
    whole = {"target_size": TARGET_SIZE, "scale": (1.0, 1.0), "iou_crop": 0.0, "mosaic": 0.0, "copy_paste": 0.0}
    return ObjectAugment(**(whole | {"recipe": "none", "visible": 0.0, "masks": False} | settings))
