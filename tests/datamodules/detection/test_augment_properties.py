"""Property tests of augmentation: boxes and masks agree, lie in the image and depend on (seed, epoch, index) alone."""

import numpy as np
import pytest
import torch
from torchvision.ops import masks_to_boxes

from datamodules import DetectionFolder
from tests.helpers.batches import assert_same, epoch
from tests.helpers.rectangles import Rectangles, assert_masks_fit

MIXED = {"masks": True, "mosaic": 0.4, "copy_paste": 0.5, "iou_crop": 0.3, "scale": (0.3, 2.0), "augment": "strong"}


def any_settings(random: np.random.Generator) -> dict:
    """Random settings of augmentation."""
    low, high = sorted(random.uniform(0.1, 2.5, 2))
    chances = dict(zip(("mosaic", "copy_paste", "iou_crop"), random.choice([0, 0.5, 1], 3), strict=True))
    size = [None, 64, 128, (96, 160)][random.integers(4)]
    recipe = ["none", "flip", "simclr"][random.integers(3)]
    visible = random.choice([0, 0.1, 0.5])
    return chances | {"scale": (low, high), "image_size": size, "augment": recipe, "min_visibility": visible}


def assert_sound(batch: dict, classes: int) -> int:
    """Assert tight boxes around non-empty masks within the image; returns the number of objects."""
    parts = zip(*(batch[key] for key in ("boxes", "labels", "masks", "inside")), strict=True)
    for boxes, labels, masks, (height, width) in parts:
        assert len(boxes) == len(labels) == len(masks)
        assert masks.flatten(1).any(1).all()
        assert (masks <= 1).all()
        assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= torch.tensor([width, height])).all()
        assert (boxes[:, 2:] - boxes[:, :2] >= 1).all()
        assert ((labels >= 0) & (labels < classes)).all()
        assert boxes.equal(masks_to_boxes(masks) + torch.tensor([0, 0, 1, 1]))  # torchvision's end on the last pixel
    return sum(map(len, batch["boxes"]))


@pytest.mark.parametrize("seed", range(24))
def test_boxes_are_those_of_masks_under_any_settings(seed):
    settings = any_settings(np.random.default_rng(seed))
    data = Rectangles({"train": 16}, masks=True, **settings)
    data.setup("fit")
    assert sum(assert_sound(batch, 6) for number in range(2) for batch in epoch(data, number)) > 0


@pytest.mark.parametrize("seed", range(12))
def test_masks_lie_on_their_colors_under_any_mix(seed):
    settings = any_settings(np.random.default_rng(seed)) | {"augment": "flip", "copy_paste": 0.0}
    data = Rectangles({"train": 16}, masks=True, **settings)
    data.setup("fit")
    for batch in epoch(data):
        for k, shown in enumerate(batch["image"].permute(0, 2, 3, 1).numpy()):
            assert_masks_fit(shown, *(batch[key][k].numpy() for key in ("boxes", "labels", "masks")))


@pytest.mark.parametrize("folder", ["coco100_instances", "dsb2018_nuclei"])
@pytest.mark.parametrize(
    "settings",
    [
        {"mosaic": 1.0, "scale": (0.5, 1.5)},
        {"copy_paste": 1.0, "scale": (0.1, 2.0)},
        {"iou_crop": 1.0},
        {"mosaic": 0.5, "copy_paste": 0.5, "iou_crop": 0.5, "scale": (0.5, 2.0), "augment": "simclr"},
    ],
    ids=lambda settings: "+".join(settings),
)
def test_boxes_are_those_of_masks_on_real_images(data_root, folder, settings):
    if not (data_root / folder).is_dir():
        pytest.skip(f"no {folder} in the real data")
    data = DetectionFolder(str(data_root / folder), image_size=192, masks=True, workers=0, num_labels=24, **settings)
    data.setup("fit")
    assert sum(assert_sound(batch, len(data.classes)) for batch in epoch(data)) > 50


@pytest.mark.integration
def test_two_workers_draw_what_none_do():
    alone, helped = (Rectangles({"train": 24}, workers=workers, **MIXED) for workers in (0, 2))
    loaders = []
    for data in (alone, helped):
        data.setup("fit")
        loaders.append(data.train_dataloader())
    for number in (0, 1):
        for loader in loaders:
            loader.sampler.set_epoch(number)
        assert_same(*map(list, loaders))


def test_what_is_drawn_for_an_image_does_not_hang_on_its_batch():
    small, large = (Rectangles({"train": 24}, batch_size=size, **MIXED) for size in (1, 6))
    found = []
    for data in (small, large):
        data.setup("fit")
        dataset = data.dataset("train", "train")
        order = range(24) if data is small else reversed(range(24))
        found.append({index: dataset[2, index] for index in order})
    for index in range(24):
        one, other = (each[index] for each in found)
        assert one["id"] == other["id"] == f"train/{index}"
        assert all(np.array_equal(one[key], other[key]) for key in ("image", "boxes", "labels", "masks"))


def test_the_seed_and_the_epoch_change_order_and_draws(monkeypatch):
    seen = []
    for seed in ("0", "1"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        data = Rectangles({"train": 24}, **MIXED)
        data.setup("fit")
        dataset = data.dataset("train", "train")
        for number in (0, 1):
            order = tuple(name for batch in epoch(data, number) for name in batch["id"])
            seen.append((order, dataset[number, 5]["image"].tobytes()))
    assert len({order for order, _ in seen}) == len({image for _, image in seen}) == 4
