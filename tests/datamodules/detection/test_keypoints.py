"""Keypoints through augmentation: cropped, resized, flipped with their sides swapped, mixed; and lines about them."""

import albumentations as A
import numpy as np
import pytest

from datamodules import ShapesKeypoints
from datamodules.detection.crop_resize import Shown, crop_and_resize, mirror
from datamodules.detection.keypoints import in_words
from datamodules.detection.mixing import mosaic, paste
from datamodules.detection.objects import Objects
from datamodules.tiles import Tiling
from modules.contracts import ConfigError
from modules.contracts.keypoints import layout
from tests.helpers.errors import line_naming, refuses

FLIPPED = np.array([1, 0, 2])
POINTS = np.array([[[10, 5, 2], [30, 10, 1], [0, 0, 0]]], np.float32)
IMAGE = np.zeros((40, 60, 3), np.uint8)


def objects() -> Objects:
    box, none = np.array([[8, 4, 32, 12]], np.float32), np.zeros(1, bool)
    return Objects(box, np.zeros(1, np.int64), none, np.ones(1, np.float32), None, POINTS)


def shown(masked: bool = False) -> Shown:
    mask = np.zeros((1, 40, 60), np.uint8)
    mask[0, 4:12, 8:32] = 1
    return Shown(IMAGE, objects().boxes, np.zeros(1, np.int64), mask if masked else None, POINTS)


def test_a_flip_swaps_left_and_right_and_keeps_what_is_not_labeled():
    assert mirror(shown(), FLIPPED).keypoints.tolist() == [[[30, 10, 1], [50, 5, 2], [0, 0, 0]]]
    twice = mirror(mirror(shown(), FLIPPED), FLIPPED)
    assert (twice.keypoints == POINTS).all()


def test_a_crop_moves_and_scales_keypoints_and_drops_those_outside():
    found = crop_and_resize(IMAGE, objects(), (0, 20, 40), (20, 40, 20), False, 0.0)
    assert found.keypoints.tolist() == [[[0, 0, 0], [10, 20, 1], [0, 0, 0]]]


def test_a_mosaic_moves_keypoints_with_their_images():
    found = mosaic(
        (80, 120), lambda i, room: shown()._replace(image=IMAGE[: room[0], : room[1]]), np.random.default_rng(0)
    )
    boxes, points = found.boxes, found.keypoints
    assert points.shape == (4, 3, 3)
    assert (points[:, 0, :2] - boxes[:, :2] == [2, 1]).all() and (points[:, 2] == 0).all()


def test_pasted_objects_bring_their_keypoints_and_hide_others():
    onto = shown(masked=True)
    other = onto._replace(masks=np.roll(onto.masks, 10, 2), keypoints=POINTS + [10, 0, 0] * (POINTS[..., 2:] > 0))
    found = paste(onto, other, np.array([True]), 0.0)
    assert found.keypoints[0].tolist() == [[10, 5, 2], [30, 10, 1], [0, 0, 0]]
    assert found.keypoints[1].tolist() == [[20, 5, 2], [40, 10, 1], [0, 0, 0]]
    covered = paste(onto, onto, np.array([True]), 0.0)  # all of it
    assert len(covered.keypoints) == 1
    near = paste(onto, onto._replace(masks=onto.masks * (np.arange(60) < 15)), np.array([True]), 0.0)
    assert near.keypoints[0, 0].tolist() == [10, 5, 1]


def test_a_tile_has_its_keypoints_in_its_own_pixels():
    data = ShapesKeypoints(train=4, val=0, test=0, workers=0)
    data.setup("fit")
    tiles = Tiling(60, 0.25).objects(*data.splits["train"], 0.0, 0)
    for i, (image, top, left) in enumerate(tiles.places.tolist()):
        whole, part = data.splits["train"][0].objects(image), tiles.objects(i)
        moved = {tuple(point) for point in (whole.keypoints - [left, top, 0])[whole.keypoints[..., 2] > 0].tolist()}
        assert {tuple(point) for point in part.keypoints[part.keypoints[..., 2] > 0].tolist()} <= moved


def test_transforms_that_move_pixels_are_refused():
    with refuses(ConfigError, "data.augment", "data.scale"):
        ShapesKeypoints(augment=[A.HorizontalFlip()])
    ShapesKeypoints(augment=[A.ColorJitter()])


@pytest.mark.parametrize(
    ("names", "flips", "named"),
    [
        (["left_a", "right_a"], True, None),
        (["left_a", "b"], True, ["left_a", "--data.flip_pairs"]),
        (["a", "b"], True, ["--data.flip_pairs", "--data.augment none"]),
        (["a", "b"], False, None),
    ],
)
def test_flips_that_swap_nothing_are_said(names, flips, named):
    lines = in_words(layout(names), {}, flips)
    if named:
        line_naming(lines, "warning", *named)
    else:
        assert not any("warning" in line for line in lines)


def test_corners_of_the_built_in_arrows_lie_on_them_and_their_mirror_image_is_named_as_drawn():
    data = ShapesKeypoints(train=40, val=0, test=0, workers=0)
    data.setup("fit")
    source, _ = data.splits["train"]
    flags = source.keypoints[..., 2]
    assert len(flags) > 20 and set(np.unique(flags)) == {0, 1, 2}
    whole = source.keypoints[(flags == 2).all(1)]
    sides = whole[..., :2] - whole[:, :1, :2]  # from the tip
    cross = sides[:, 1, 0] * sides[:, 2, 1] - sides[:, 1, 1] * sides[:, 2, 0]
    assert (cross < 0).all()  # looking along the arrow, left is on the left
    turned = [
        mirror(Shown(source.image(i), o.boxes, o.labels, None, o.keypoints), data.layout.flipped)
        for i in range(9)
        if len(o := source.objects(i))
    ]
    for one in turned:
        points = one.keypoints[(one.keypoints[..., 2] == 2).all(1), :, :2]
        sides = points - points[:, :1]
        assert (sides[:, 1, 0] * sides[:, 2, 1] - sides[:, 1, 1] * sides[:, 2, 0] < 0).all()


def test_samples_have_keypoints_in_pixels_of_the_network_and_truth_in_those_of_the_file():
    data = ShapesKeypoints(train=8, val=4, test=0, workers=0, batch_size=4)
    data.setup("fit")
    for batch in (next(iter(data.train_dataloader())), next(iter(data.val_dataloader()))):
        for boxes, points in zip(batch["boxes"], batch["keypoints"], strict=True):
            assert points.shape == (len(boxes), 5, 3)
    same = zip(batch["keypoints"], batch["truth"], strict=True)
    assert all((points == truth["keypoints"]).all() for points, truth in same)
