"""Tiles of training images: what they show, what is annotated in them, and which are kept."""

import numpy as np
import pytest
import torch

from datamodules import SegmentationFolder
from datamodules.tiles import Tiling
from modules.contracts import ConfigError
from tests.helpers.batches import assert_same, epoch
from tests.helpers.errors import refuses
from tests.helpers.rectangles import Rectangles, assert_boxes_fit, assert_masks_fit, rectangles

TILE = {"image_size": None, "tile_size": 64, "augment": "none", "min_visibility": 0.0}


def objects(**settings) -> Rectangles:
    data = Rectangles(**TILE | settings)
    data.setup("fit")
    return data


def test_tiles_cover_every_pixel_and_overlap_by_the_share():
    source = rectangles(4)
    tiles = Tiling(64, 0.25).objects(source, np.arange(4), 0.0, 0)
    for number, (height, width) in enumerate(source.shapes.tolist()):
        seen = np.zeros((height, width), int)
        starts = {0: set(), 1: set()}
        for index in np.flatnonzero(tiles.places[:, 0] == number):
            _, top, left = tiles.places[index]
            part = source.image(number)[top : top + 64, left : left + 64]
            assert np.array_equal(tiles.image(index), part) and part.shape[:2] == tiles.shape(index) == (64, 64)
            seen[top : top + 64, left : left + 64] += 1
            starts[0].add(int(top)), starts[1].add(int(left))
        assert (seen > 0).all()
        for found in starts.values():
            assert all(b - a <= 48 for a, b in zip(sorted(found), sorted(found)[1:], strict=False))


def test_an_image_smaller_than_a_tile_is_one():
    tiles = Tiling(128, 0.25).objects(rectangles(1), np.arange(1), 0.0, 0)  # 96 x 128
    assert len(tiles) == 1 and tiles.shape(0) == (96, 128)


def test_boxes_and_masks_end_where_their_object_does_in_the_tile():
    asked = 0
    for batch in epoch(objects(masks=True)):
        for image, boxes, labels, masks in zip(
            batch["image"].permute(0, 2, 3, 1).numpy(), batch["boxes"], batch["labels"], batch["masks"], strict=True
        ):
            asked += assert_boxes_fit(image, boxes.numpy(), labels.numpy())
            assert_masks_fit(image, boxes.numpy(), labels.numpy(), masks.numpy())
    assert asked > 50


def test_an_object_of_which_a_tile_shows_too_little_is_left_out():
    source = rectangles(8)
    few, all_of_them = (Tiling(64, 0.25).objects(source, np.arange(8), share, 0) for share in (0.9, 0.0))
    counts = [sum(len(tiles.objects(i)) for i in range(len(tiles))) for tiles in (few, all_of_them)]
    whole = [
        sum(
            bool((box[:2] >= [left, top]).all() and (box[2:] <= [left + 64, top + 64]).all())
            for number, top, left in few.places
            for box in source.objects(number).boxes
        )
    ]
    assert whole[0] <= counts[0] < counts[1]


def test_empty_tiles_are_left_out_but_for_the_share():
    counts = {share: len(objects(empty_tiles=share).tiles) for share in (0.0, 0.5, 1.0)}
    assert counts[0.0] < counts[0.5] < counts[1.0]
    none = objects(empty_tiles=0.0)
    assert all(len(boxes) for batch in epoch(none) for boxes in batch["boxes"])
    assert np.array_equal(objects(empty_tiles=0.5).tiles.places, objects(empty_tiles=0.5).tiles.places)


@pytest.mark.integration
def test_an_epoch_is_of_tiles_and_the_same_for_any_number_of_workers():
    one, two = (
        objects(augment="flip", mosaic=0.3, copy_paste=0.3),
        objects(augment="flip", mosaic=0.3, copy_paste=0.3, workers=2),
    )
    assert len(one.train_dataloader()) == len(one.tiles) // 4 > 24 // 4
    assert_same(epoch(one, 1), epoch(two, 1))


def test_validation_sees_whole_images():
    (batch, *_) = objects().val_dataloader()
    assert batch["size"].tolist() == [list(shape) for shape in ((96, 128), (120, 90), (100, 100), (64, 160))]


def test_maps_are_cut_with_their_images(pair_folder):
    settings = {"image_size": None, "tile_size": 16, "augment": "none", "scale": (1.0, 1.0), "batch_size": 1}
    data = SegmentationFolder(str(pair_folder({"train": 2, "val": 1, "test": 1})), workers=0, **settings)
    data.setup("fit")
    source, indices = data.splits["train"]
    for index in range(len(data.tiles)):
        number, top, left = data.tiles.places[index]
        part = np.s_[top : top + 16, left : left + 16]
        whole = source.image(number)[part], source.mask(number)[part]
        assert np.array_equal(data.tiles.image(index)[: whole[0].shape[0], : whole[0].shape[1]], whole[0])
        assert np.array_equal(data.tiles.mask(index)[: whole[1].shape[0], : whole[1].shape[1]], whole[1])
    batches = epoch(data)
    assert len(batches) == len(data.tiles) > len(indices)
    assert all(batch["image"].shape == (1, 3, 16, 16) for batch in batches)
    assert sum((batch["mask"] != 255).sum() for batch in batches) > 0
    assert {batch["image"].dtype for batch in batches} == {torch.uint8}


def test_a_map_smaller_than_a_tile_is_void_beside_it(pair_folder):
    data = SegmentationFolder(str(pair_folder({"train": 2, "val": 1, "test": 1})), image_size=None, tile_size=200)
    data.setup("fit")
    height, width = data.splits["train"][0].mask(0).shape
    mask = data.tiles.mask(0)
    assert mask.shape == (200, 200) and (mask[height:] == 255).all() and (mask[:, width:] == 255).all()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"image_size": 64}, ["data.tile_size", 64, "--data.image_size null", "--model.tile_size"]),
        ({"tile_size": 0}, ["data.tile_size", 0]),
        ({"tile_overlap": 1.0}, ["data.tile_overlap", 1]),
        ({"empty_tiles": 2.0}, ["data.empty_tiles", 2]),
        ({"proposals": "a.json"}, ["data.proposals", "data.tile_size"]),
    ],
)
def test_tiles_that_cannot_be_are_refused(settings, words):
    with refuses(ConfigError, *words):
        Rectangles(**TILE | settings)
