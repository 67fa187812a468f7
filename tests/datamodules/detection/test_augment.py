"""Boxes and masks stay on their objects under every augmentation: colored rectangles are found again."""

import pickle
from dataclasses import replace

import albumentations as A
import numpy as np
import pytest

from datamodules.detection.augment import ObjectAugment
from datamodules.detection.objects import packed
from datamodules.letterbox import fitted
from modules.contracts import ConfigError
from tests.helpers.errors import refuses
from tests.helpers.object_augment import EVERY, SETTINGS, TARGET_SIZE, augment
from tests.helpers.rectangles import COLORS, assert_boxes_fit, assert_masks_fit, rectangles, runs

TURNED = [A.Affine(rotate=(-40, 40), p=1)]


def samples(make: ObjectAugment, source=None, epochs: int = 2):
    source = source or rectangles()
    return [make(source, EVERY, index, 0, epoch, index) for epoch in range(epochs) for index in range(len(source))]


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_boxes_end_where_their_colors_do(settings):
    found = samples(augment(**settings))
    assert sum(assert_boxes_fit(s["image"], s["boxes"], s["labels"]) for s in found) > 10
    assert not any("masks" in sample for sample in found)


@pytest.mark.parametrize("settings", [*SETTINGS.values(), {"recipe": TURNED}], ids=[*SETTINGS, "turned"])
def test_masks_lie_on_their_colors_and_boxes_around_masks(settings):
    found = samples(augment(masks=True, **settings))
    for sample in found:
        assert_masks_fit(*(sample[key] for key in ("image", "boxes", "labels", "masks")))
    assert sum(assert_boxes_fit(s["image"], s["boxes"], s["labels"]) for s in found) > 10


def test_a_turned_box_holds_its_object_also_without_masks():
    for sample in samples(augment(recipe=TURNED)):
        for (x0, y0, x1, y1), label in zip(sample["boxes"].round().astype(int), sample["labels"], strict=True):
            part = sample["image"][y0:y1, x0:x1]
            assert (np.abs(part.astype(int) - COLORS[label]).sum(-1) < 60).any()


@pytest.mark.parametrize("masks", [False, True])
def test_pasted_objects_hide_what_lies_below(masks):
    source, plain = rectangles(), augment(masks=True)
    pasting = augment(masks=masks, copy_paste=1.0)
    more = 0
    for epoch in range(4):
        for index in range(8):
            before, sample = (make(source, EVERY, index, 0, epoch, index) for make in (plain, pasting))
            assert ("masks" in sample) == masks
            more += len(sample["boxes"]) - len(before["boxes"])
            if masks:
                assert (sample["masks"].sum(0) <= 1).all(), "a pixel shows one object"
                for label, mask in zip(sample["labels"], sample["masks"], strict=True):
                    shown = np.abs(sample["image"][mask > 0].astype(int) - COLORS[label]).sum(-1)
                    assert np.median(shown) < 60
    assert more > 10


def test_an_object_that_is_pasted_over_is_no_longer_looked_for():
    """The other image is the same one, and half of the time its only object, which covers it, is chosen."""
    source = rectangles(2, shapes=((64, 64),), most=1)
    whole = runs(np.array([[0, 0, 64, 64]]), source.image(1))[0]["counts"]
    source = replace(source, boxes=np.array([[0, 0, 64, 64]], np.float32), counts=packed([whole]))
    make = augment(masks=True, copy_paste=1.0, visible=0.1, target_size=(64, 64))
    assert {len(make(source, np.array([1]), 1, 0, epoch, 1)["boxes"]) for epoch in range(12)} == {1}


@pytest.mark.parametrize(
    "settings",
    [{"scale": (0.3, 2.0), "recipe": "simclr"}, {"mosaic": 0.5, "copy_paste": 0.5, "recipe": TURNED, "masks": True}],
)
def test_what_is_drawn_follows_from_the_key_alone(settings):
    source, (one, other) = rectangles(), (augment(**settings) for _ in range(2))
    other = pickle.loads(pickle.dumps(other))  # as in a worker
    forward = [one(source, EVERY, i, 7, 3, i) for i in range(8)]
    backward = [other(source, EVERY, i, 7, 3, i) for i in reversed(range(8))][::-1]
    for a, b in zip(forward, backward, strict=True):
        assert a.keys() == b.keys()
        assert all(np.array_equal(a[key], b[key]) for key in a)
    differs = [one(source, EVERY, i, *key) for i in range(8) for key in ((7, 4, i), (8, 3, i))]
    assert not any(np.array_equal(a["image"], b["image"]) for a, b in zip(forward * 2, differs, strict=True))


def test_mosaics_take_other_images_of_the_set_only():
    source, shown = rectangles(8, most=1), set()
    labels = {int(source.objects(i).labels[0]) for i in (1, 3)}
    make = augment(mosaic=1.0)
    for epoch in range(40):
        shown |= set(make(source, np.array([1, 3]), 1, 0, epoch, 1)["labels"].tolist())
    assert shown == labels


def test_an_image_at_scale_one_is_the_one_that_evaluation_sees():
    source = rectangles(shapes=((481, 613), (97, 301)), count=4)
    for index in range(4):
        sample = augment()(source, EVERY, index, 0, 0, index)
        assert sample["inside"] == fitted(source.shape(index), TARGET_SIZE) == sample["image"].shape[:2]
        assert sample["size"] == source.shape(index)


@pytest.mark.parametrize("scale", [0.1, 0.5, 1.0, 1.7, 3.0])
def test_no_augmented_image_is_larger_than_a_whole_one(scale):
    source = rectangles()
    for sample, index in zip(samples(augment(scale=(scale, scale))), list(range(8)) * 2, strict=True):
        whole = np.array(fitted(source.shape(index), TARGET_SIZE))
        assert np.abs(np.array(sample["inside"]) - np.rint(whole * min(scale, 1))).max() <= 1


@pytest.mark.parametrize("visible", [0.0, 0.5, 0.9])
def test_objects_need_their_share_within_the_crop(visible):
    """Known areas: at twice the size, of every rectangle that is whole."""
    source = rectangles(count=8, shapes=((128, 128),))
    shares = []
    found = samples(augment(scale=(2, 2), visible=visible), source, 6)
    for index, sample in zip(list(range(8)) * 6, found, strict=True):
        whole = dict(zip(source.objects(index).labels, source.objects(index).area, strict=True))
        sides = sample["boxes"][:, 2:] - sample["boxes"][:, :2]
        shares += [a / (4 * whole[c]) for a, c in zip(sides.prod(1), sample["labels"], strict=True)]
    assert min(shares) >= visible
    assert (min(shares) < 0.5) == (visible < 0.5)


def test_crowds_are_never_to_be_found():
    source = rectangles(crowds=2)
    hidden = [set(o.labels[o.crowd].tolist()) for o in map(source.objects, range(8))]
    assert sum(map(len, hidden)) > 8
    for index in range(8):
        assert not set(augment()(source, EVERY, index, 0, 0, index)["labels"].tolist()) & hidden[index]
    everyone = rectangles(crowds=9)
    for settings in ({"mosaic": 1.0}, {"copy_paste": 1.0}, {"iou_crop": 1.0}):
        assert not any(len(s["boxes"]) for s in samples(augment(**settings), everyone, 1))


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize("recipe", ["strong", [A.HorizontalFlip(p=1), A.Affine(rotate=20, p=1)]])
def test_images_without_objects_stay_negatives(recipe, masks):
    source = rectangles(most=0)
    make = augment(recipe=recipe, masks=masks, mosaic=0.3, copy_paste=0.5, iou_crop=0.5, scale=(0.5, 1.5))
    for sample in samples(make, source, 2):
        assert (sample["boxes"].shape, sample["boxes"].dtype) == ((0, 4), np.float32)
        assert (sample["labels"].shape, sample["labels"].dtype) == ((0,), np.int64)
        if masks:
            assert sample["masks"].shape == (0, *sample["inside"])


def test_objects_thinner_than_a_pixel_are_dropped():
    found = samples(augment(scale=(0.02, 0.02)))
    assert not any(len(s["boxes"]) for s in found)
    assert all(min(s["inside"]) >= 1 for s in found)


def test_the_named_recipes_change_colors_only_after_the_flip():
    source = rectangles()
    for sample, plain in zip(samples(augment(recipe="strong")), samples(augment()), strict=True):
        assert sample["boxes"].shape == plain["boxes"].shape
        flipped = plain["boxes"][:, [2, 1, 0, 3]] * [-1, 1, -1, 1] + [sample["inside"][1], 0] * 2
        assert np.allclose(sample["boxes"], plain["boxes"]) or np.allclose(sample["boxes"], flipped, atol=1e-3)
    assert source.image(1).max() == 230, "the source is as it was"


def test_a_torn_image_keeps_one_mask_of_each_object():
    for sample in samples(augment(recipe=[A.RandomGridShuffle((3, 3), p=1)], masks=True)):
        assert len({m.tobytes() for m in sample["masks"]}) == len(sample["masks"])


# Bad settings --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("transform", "names"),
    [(A.ToFloat(), ["float32", "uint8"]), (A.RandomCrop(500, 500), ["96 x 128"])],
    ids=["floats", "too large"],
)
def test_transforms_that_do_not_fit_the_image_are_refused(transform, names):
    make = augment(recipe=[transform])
    with refuses(ConfigError, "data.augment", *names):
        make(rectangles(), EVERY, 1, 0, 0, 1)


def test_transforms_that_mix_masks_are_refused():
    with refuses(ConfigError, "data.augment", "Affine", "mask_interpolation"):
        augment(recipe=[A.OneOf([A.Affine(mask_interpolation=1)])])
