"""Test-time augmentation and tiled inference: a detector finds what it finds in the image itself."""

import pytest
import torch
from scipy import ndimage
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_iou

from modules.contracts import ConfigError
from modules.decoding.boxes import Detection, Selection
from modules.decoding.objects import Shown, alone, infer
from modules.decoding.tta import TTA, TiledTTA
from modules.heads.detection.regions import usable
from tests.helpers.errors import refuses

STRIDE, BLACK = 16, torch.full((3, 1, 1), -2.0)
SIZES = [(96, 130), (110, 64)]  # of what is inside images of 112 x 144
BOXES = [[[10, 8, 30, 28], [40, 30, 64, 60], [90, 70, 126, 92], [100, 4, 118, 20]], [[4, 6, 30, 40], [36, 80, 62, 108]]]
SETTINGS = {
    "plain": TiledTTA(),
    "flip": TiledTTA(TTA(flip=True)),
    "scales": TiledTTA(TTA(scales=(0.8, 1.0, 1.25))),
    "one other scale": TiledTTA(TTA(scales=(1.7,))),
    "tiles": TiledTTA(tile_size=80),
    "tiles that do not divide": TiledTTA(tile_size=75, tile_overlap=0.6),
    "everything": TiledTTA(TTA(True, (0.75, 1.0, 1.5)), tile_size=80, tile_overlap=0.6),
}
each_setting = pytest.mark.parametrize("tiled", SETTINGS.values(), ids=SETTINGS)


def make_images() -> Shown:
    """Objects, each with its upper left quarter cut off, are bright on gray; beyond lies black."""
    image = BLACK.expand(2, 3, 112, 144).clone()
    for shown, (height, width), boxes in zip(image, SIZES, BOXES, strict=True):
        shown[:, :height, :width] = 0.0
        for left, top, right, bottom in boxes:
            shown[:, top:bottom, left:right] = 1.0
            shown[:, top : (top + bottom) // 2, left : (left + right) // 2] = 0.0
    return Shown(image, torch.tensor(SIZES))


def bright(shown: Shown) -> list[Detection]:
    """Finds what is bright, with its pixels as a mask; checks what it is given."""
    assert all(side % STRIDE == 0 for side in shown.image.shape[-2:])
    found = []
    for image, (height, width) in zip(shown.image, shown.inside.tolist(), strict=True):
        # resizing blurs the border by up to two pixels
        assert (image[:, height + 2 :] < -1.99).all() and (image[:, :, width + 2 :] < -1.99).all()
        seen = (image[0, :height, :width] > 0.5).numpy()
        parts = ndimage.find_objects(ndimage.label(seen)[0])
        boxes = torch.tensor([[x.start, y.start, x.stop, y.stop] for y, x in parts]).float().reshape(-1, 4)
        masks = [interpolate(image[None, :1, y, x], (28, 28))[0, 0] for y, x in parts]
        scores = torch.full((len(parts),), 0.5) + torch.arange(len(parts)) / 100
        one = {"boxes": boxes, "scores": scores, "labels": torch.zeros(len(parts), dtype=torch.long)}
        found.append(one | {"mask_probabilities": torch.stack(masks) if masks else torch.zeros(0, 28, 28)})
    return found


def detect(find, tiled: TiledTTA, shown: Shown) -> list[Detection]:
    return infer(find, shown, tiled, Selection(nms_threshold=0.3), STRIDE, BLACK)


@each_setting
def test_each_object_is_found_once_where_it_is_with_its_mask(tiled):
    for one, boxes in zip(detect(bright, tiled, make_images()), BOXES, strict=True):
        overlap, which = box_iou(torch.tensor(boxes).float(), one["boxes"]).max(1)
        assert overlap.min() > 0.8 and sorted(which.tolist()) == list(range(len(one["boxes"])))
        for mask in one["mask_probabilities"]:
            assert mask[:11, :11].mean() < 0.2 and mask[17:, :].mean() > 0.8 and mask[:, 17:].mean() > 0.8


@each_setting
def test_keypoints_stay_on_their_objects(tiled):
    """A detector that finds the middle and the lower edge of each object."""

    def pointed(shown: Shown) -> list[Detection]:
        return [one | {"keypoints": points(one["boxes"])} for one in bright(shown)]

    def points(boxes: Tensor) -> Tensor:
        x, y = ((boxes[:, i] + boxes[:, i + 2]) / 2 for i in (0, 1))
        score = torch.full_like(x, 0.7)
        return torch.stack([torch.stack([x, y, score], 1), torch.stack([x, boxes[:, 3], score], 1)], 1)

    for one in detect(pointed, tiled, make_images()):
        torch.testing.assert_close(one["keypoints"], points(one["boxes"]), atol=1e-3, rtol=0)


@each_setting
def test_proposals_come_with_every_pass(tiled):
    """A detector that takes proposals for what it looks for, as far as they lie in what it sees."""

    def given(shown: Shown) -> list[Detection]:
        boxes = usable(shown.proposals, [tuple(side) for side in shown.inside.tolist()])
        return [{"boxes": b, "scores": torch.ones(len(b)), "labels": torch.zeros(len(b)).long()} for b in boxes]

    proposals = [torch.tensor(boxes).float() for boxes in BOXES]
    found = detect(given, tiled, make_images()._replace(proposals=proposals))
    for one, boxes in zip(found, proposals, strict=True):
        overlap, which = box_iou(boxes, one["boxes"]).max(1)
        assert overlap.min() > 0.9 and sorted(which.tolist()) == list(range(len(one["boxes"])))


def test_an_image_is_looked_at_as_often_as_asked():
    seen: list[tuple] = []

    def count(shown: Shown) -> list[Detection]:
        seen.append((len(shown.image), *shown.inside[0].tolist()))
        return bright(shown)

    detect(count, TiledTTA(TTA(True, (1.0, 0.5))), make_images())
    each = [(1, 96, 130)] * 2 + [(1, 48, 65)] * 2, [(1, 110, 64)] * 2 + [(1, 55, 32)] * 2
    assert seen == [*each[0], *each[1]], "each with the padding that it needs itself"
    seen.clear()
    detect(count, TiledTTA(tile_size=70), make_images())
    assert seen == [(6, 70, 70), (3, 70, 64)]  # 2 x 3 tiles of the first image, 3 of the second
    seen.clear()
    detect(count, TiledTTA(tile_size=130), make_images())
    assert seen == [(1, 96, 130), (1, 110, 64)], "images that fit a tile need no tiles"
    seen.clear()
    shown = Shown(BLACK.expand(3, 3, 96, 144), torch.tensor([[90, 130], [81, 144], [96, 140]]))
    detect(lambda shown: seen.append(shown.inside.tolist()) or bright(shown), TiledTTA(), shown)
    assert seen == [[[90, 130], [81, 144], [96, 140]]], "those that need the same share a pass"


def test_an_object_larger_than_the_overlap_is_still_found_by_a_smaller_scale():
    image = torch.zeros(1, 3, 64, 192)
    image[..., 10:54, 20:150] = 1.0
    shown = Shown(image, torch.tensor([[64, 192]]))
    whole: Tensor = torch.tensor([[20.0, 10, 150, 54]])
    pieces, found = (detect(bright, TiledTTA(TTA(scales=(scale,)), 96), shown)[0] for scale in (1.0, 0.5))
    assert box_iou(whole, pieces["boxes"]).max() < 0.8
    assert box_iou(whole, found["boxes"]).max() > 0.9


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"scales": ()}, ("scales", "[]")),
        ({"scales": (1.0, 0.0)}, ("scales", [1.0, 0.0])),
        ({"tile_size": 0}, ("tile_size", 0)),
        ({"tile_size": 64, "tile_overlap": 1.0}, ("tile_overlap", 1.0)),
    ],
)
def test_settings_out_of_range_are_refused(wrong, names):
    with refuses(ConfigError, *names):
        (TTA if "scales" in wrong else TiledTTA)(**wrong)


def test_gradients_pass_to_images_of_several_sizes():
    image = torch.rand(3, 3, 16, 24, requires_grad=True)
    shown = Shown(image, torch.tensor([[16, 24], [9, 24], [16, 5]]), None)
    total = sum(own.image.sum() for _, own in alone(shown, 8, torch.zeros(3, 1, 1)))
    (slope,) = torch.autograd.grad(total, image)
    inside = torch.zeros(3, 3, 16, 24)
    inside[0], inside[1, :, :9], inside[2, :, :, :5] = 1, 1, 1
    assert torch.equal(slope, inside)
