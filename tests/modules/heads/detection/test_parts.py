"""Anchors, pooling, crops and box losses: against torchvision's where it is right, closed forms where it is not."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import MultiScaleRoIAlign, box_iou, roi_pool

from modules.contracts import ConfigError, Features
from modules.decoding.boxes import Selection
from modules.heads.detection import FCOS, SSD, FasterRCNN, RetinaNet, SingleObject
from modules.heads.detection.anchors import Anchors, fit_anchors
from modules.heads.detection.fast_rcnn import Crop, windows
from modules.heads.detection.pooling import RoIAlign, RoIPool, named
from modules.heads.detection.regions import Regions, usable
from tests.helpers.errors import assert_named, refuses

STRIDES = [4, 8, 16]


def maps(height: int, width: int, channels: int = 3, dtype: torch.dtype = torch.float32) -> list[Tensor]:
    return [torch.randn(2, channels, -(-height // s), -(-width // s), dtype=dtype) for s in STRIDES]


def make_images(height: int, width: int) -> ImageList:
    return ImageList(torch.zeros(2, 3, height, width), [(height, width)] * 2)


def boxes(count: int = 30) -> Tensor:
    corner = torch.rand(count, 2) * 60
    return torch.cat([corner, corner + 2 + torch.rand(count, 2) * 400], 1)


def test_anchors_are_torchvisions_where_maps_have_whole_cells():
    sizes, ratios = [16.0, 24.0, 32.0, 48.0, 64.0, 96.0], (0.5, 1.0, 2.0)
    theirs = AnchorGenerator(((16.0, 24.0), (32.0, 48.0), (64.0, 96.0)), (ratios,) * 3)
    expected = theirs(make_images(64, 96), maps(64, 96))
    torch.testing.assert_close(Anchors(STRIDES, sizes, ratios)(make_images(64, 96), maps(64, 96)), expected)


def test_anchors_keep_their_stride_where_a_cell_is_cut():
    found = Anchors(STRIDES, [16.0, 32.0, 64.0], (1.0,))(make_images(50, 70), maps(50, 70))[0]
    last = found[-20:].unflatten(0, (4, 5))  # the map of stride 16
    middles = (last[..., :2] + last[..., 2:]) / 2
    assert middles[0, :, 0].tolist() == [0, 16, 32, 48, 64] and middles[:, 0, 1].tolist() == [0, 16, 32, 48]


def test_anchors_of_bfloat16_maps_are_not_rounded():
    found = Anchors(STRIDES, [16.0, 32.0, 64.0], (1.0,))(make_images(64, 640), maps(64, 640, dtype=torch.bfloat16))[0]
    assert found.dtype == torch.float32 and 628.0 in found[:, 0]  # bfloat16 knows 628 only as 628 +- 2


def test_anchors_of_a_map_at_full_resolution_have_an_area():
    found = Anchors([1], [1.0], (1.0,))(ImageList(torch.zeros(1, 3, 4, 4), [(4, 4)]), [torch.zeros(1, 3, 4, 4)])[0]
    assert ((found[:, 2:] - found[:, :2]) == 1).all()


def test_roi_align_is_torchvisions():
    features, rois = named(maps(256, 256)), [boxes(), boxes(5)]
    theirs = MultiScaleRoIAlign(["0", "1", "2"], 7, sampling_ratio=2)
    expected = theirs(features, rois, [(256, 256)] * 2)
    torch.testing.assert_close(RoIAlign(STRIDES, 7).eval()(features, rois, [(256, 256)] * 2), expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_roi_align_in_training_is_torchvisions_with_its_gradient(dtype):
    rois = [
        torch.cat([boxes(), torch.tensor([[-30.0, -9, 20, 20], [240, 250, 300, 280], [7, 7, 7, 7]])]),
        boxes(0),
        boxes(5),
    ]
    ours = [torch.randn(3, 4, 256 // s, 200 // s, dtype=dtype, requires_grad=True) for s in STRIDES]
    theirs = [each.detach().float().requires_grad_() for each in ours]
    pool = MultiScaleRoIAlign(["0", "1", "2"], 7, sampling_ratio=2)
    expected = pool(named(theirs), rois, [(256, 200)] * 3)
    found = RoIAlign(STRIDES, 7)(named(ours), rois, [(256, 200)] * 3)
    assert found.dtype == dtype
    close = {"atol": 1e-4, "rtol": 1e-4} if dtype == torch.float32 else {"atol": 0.05, "rtol": 0.02}
    torch.testing.assert_close(found.float(), expected, **close)
    weight = torch.randn_like(expected)
    (found * weight).sum().backward()
    (expected * weight).sum().backward()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a.grad.float(), b.grad, **close)


def test_roi_align_knows_its_strides_in_a_batch_that_is_mostly_padding():
    features, rois = named(maps(256, 256)), [boxes(), boxes(5)]
    pool = RoIAlign(STRIDES, 7).eval()
    whole = pool(features, rois, [(256, 256)] * 2)
    torch.testing.assert_close(RoIAlign(STRIDES, 7).eval()(features, rois, [(90, 100)] * 2), whole)


def test_roi_pool_takes_each_box_from_its_own_map():
    features, rois = maps(256, 256), [boxes(), boxes(5)]
    pooled = RoIPool(STRIDES, 7)(named(features), rois, [])
    levels = RoIAlign(STRIDES, 7).map_levels(rois)
    assert len(levels.unique()) == 3
    flat = torch.cat([torch.cat([torch.full((len(r), 1), i), r], 1) for i, r in enumerate(rois)])
    for found, roi, level in zip(pooled, flat, levels.tolist(), strict=True):
        torch.testing.assert_close(found, roi_pool(features[level], roi[None], 7, 1 / STRIDES[level])[0])


def test_a_crop_shows_its_box_with_surroundings():
    across = torch.arange(100.0).expand(1, 3, 100, 100)
    crop = Crop(size=10, context=0.1, at_once=8)(across, [torch.tensor([[30.0, 20.0, 70.0, 60.0]])])
    left, right = 30 - 40 / 8, 70 + 40 / 8  # the box is 8 tenths of the square
    middles = left + (right - left) * (torch.arange(10) + 0.5) / 10 - 0.5  # pixel 0 lies at 0.5
    torch.testing.assert_close(crop[0, 0, 5], middles, atol=1e-4, rtol=0)


def test_windows_find_objects_of_many_sizes():
    found = windows(240, 320, torch.device("cpu"))
    for side in (40, 80, 160):
        objects = torch.rand(50, 2) * torch.tensor([320.0 - side, 240.0 - side])
        overlap = box_iou(torch.cat([objects, objects + side], 1), found).max(1).values
        assert overlap.min() > 0.39  # a quarter off in both directions: (3/4)^2 / (2 - (3/4)^2)


def test_given_proposals_are_cut_and_the_degenerate_dropped():
    given = torch.tensor([[-5.0, -5, 20, 20], [10, 10, 10, 30], [90, 90, 99, 99], [30, 30, 10, 10]])
    assert usable([given], [(50, 60)])[0].tolist() == [[0, 0, 20, 20]]


@pytest.mark.parametrize("kind", ["giou", "diou"])
def test_box_losses_on_boxes_see_decoded_boxes(kind):
    """One region, moved by a known offset: the loss is that of the two boxes, worked out by hand."""
    regions = Regions(None, None, 4, 1, Selection(), 1, kind)
    region, truth = torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[5.0, 0, 15, 10]])
    deltas = torch.zeros(1, 8)
    arguments = (deltas, [region], [torch.tensor([0])], [torch.tensor([1])], [{"boxes": truth}])
    iou = 50 / 150
    expected = {"giou": 1 - iou, "diou": 1 - iou + 5**2 / (15**2 + 10**2)}[kind]  # the hull has no area of its own
    assert regions._iou_loss(*arguments).item() == pytest.approx(expected, abs=1e-5)
    deltas[0, 4] = 10 * 0.5  # half a width to the right, times the coder's weight of 10
    assert regions._iou_loss(*arguments).item() == pytest.approx(0, abs=1e-5)


def test_single_object_learns_from_the_largest():
    head = SingleObject(Features([4], [8]), 3, hidden=8).train()
    feature, inside = [torch.randn(1, 4, 8, 8)], torch.tensor([[64, 64]])
    small, large = [5.0, 5.0, 9.0, 9.0], [10.0, 20.0, 60.0, 50.0]
    both = [{"boxes": torch.tensor([small, large]), "labels": torch.tensor([0, 2])}]
    alone = [{"boxes": torch.tensor([large]), "labels": torch.tensor([2])}]
    image = torch.zeros(1, 3, 64, 64)
    assert head(image, feature, inside, both)[1] == head(image, feature, inside, alone)[1]


def test_ssd_learns_from_images_without_objects():
    head = SSD(Features([4, 4], [8, 16]), 3, levels=2).train()
    feature = [torch.randn(1, 4, 8, 8), torch.randn(1, 4, 4, 4)]
    none = [{"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}]
    _, losses = head(torch.zeros(1, 3, 64, 64), feature, torch.tensor([[64, 64]]), none)
    logits = head.net.head(feature)["cls_logits"][0]
    hardest = (-logits.log_softmax(1)[:, 0]).sort(descending=True).values[:3]
    torch.testing.assert_close(losses["classifier"], hardest.sum())


def test_fitted_anchors_are_the_shapes_in_the_data():
    rng = np.random.default_rng(0)
    sizes, ratios = rng.choice([12.0, 30.0, 90.0], 600), rng.choice([0.5, 2.0], 600)
    wh = np.stack([sizes / np.sqrt(ratios), sizes * np.sqrt(ratios)], 1) * rng.uniform(0.97, 1.03, (600, 1))
    found, shapes = fit_anchors(wh, levels=3, ratios=2)
    np.testing.assert_allclose(found, [12, 30, 90], rtol=0.02)
    np.testing.assert_allclose(shapes, [0.5, 2.0], rtol=0.02)


def test_sizes_that_are_not_fitted_double():
    sizes = np.repeat([10.0, 40.0], 50)
    found, _ = fit_anchors(np.stack([sizes, sizes], 1), levels=4, ratios=1, fitted=2)
    np.testing.assert_allclose(found, [10, 40, 80, 160], rtol=1e-5)


def test_large_boxes_do_not_put_large_anchors_on_fine_maps():
    """Anchors of a coarse map must be large beside its stride, or boxes fall between them."""
    head = FasterRCNN(Features([32] * 4, [8, 16, 32, 64]), 3)
    head.fit_anchors(np.random.default_rng(0).normal(40, 1, (200, 2)))
    sides = (head.anchors.shapes[:, 2] - head.anchors.shapes[:, 0])[1::3]  # of the square ones
    assert abs(sides[0] - 40) <= 2 and sides[3] >= 4 * 64


def test_boxes_of_one_size_still_give_a_size_for_every_map():
    found, ratios = fit_anchors(np.full((50, 2), 20.0), levels=3, ratios=2)
    np.testing.assert_allclose(found, [20, 40, 80], rtol=1e-5)
    np.testing.assert_allclose(ratios, [1, 2], rtol=1e-5)


@pytest.mark.parametrize("head", [FasterRCNN, RetinaNet, SSD])
def test_fitting_says_what_it_changes_and_a_checkpoint_keeps_it(head):
    features = Features([32] * 3, [8, 16, 32])
    settings = {"levels": 3} if head is SSD else {}
    fitted, other = head(features, 3, **settings), head(features, 3, **settings)
    wh = np.random.default_rng(0).uniform([5, 20], [10, 60], (300, 2))
    before = fitted.anchors.recall(wh)
    line = fitted.fit_anchors(wh)
    after = fitted.anchors.recall(wh)
    assert after > before
    assert_named(line, 300, f"{100 * before:.1f} %", f"{100 * after:.1f} %")
    other.load_state_dict(fitted.state_dict())
    feature = [torch.zeros(1, 32, 64 // s, 64 // s) for s in (8, 16, 32)]
    given = ImageList(torch.zeros(1, 3, 64, 64), [(64, 64)]), feature
    torch.testing.assert_close(other.anchors(*given), fitted.anchors(*given))
    assert not torch.equal(head(features, 3, **settings).anchors(*given)[0], fitted.anchors(*given)[0])


def test_fitting_that_makes_nothing_better_changes_nothing():
    head = FasterRCNN(Features([32] * 2, [8, 16]), 3)
    wh = np.random.default_rng(0).uniform(10, 60, (100, 2))
    head.fit_anchors(wh)
    before = head.anchors.shapes.clone()
    assert_named(head.fit_anchors(wh), 100)
    assert torch.equal(head.anchors.shapes, before)


@pytest.mark.parametrize("head", [FasterRCNN, RetinaNet, SSD])
def test_anchors_of_the_head_are_fitted_where_they_reach_too_few_boxes_and_given_ones_warned_of(head):
    features, small = Features([32] * 3, [8, 16, 32]), np.random.default_rng(0).uniform(20, 26, (200, 2))
    settings = {"levels": 3} if head is SSD else {}
    own, kept, given = head(features, 3, **settings), head(features, 3, **settings), head(features, 3, [100, 150, 200])
    assert own.anchors.recall(small) < 0.7
    line = own.settle_anchors(small, None)
    assert own.anchors.recall(small) > 0.9
    assert_named(line, 200, f"{100 * own.anchors.recall(small):.1f} %")
    for other, fit in ((kept, False), (given, None)):
        before = other.anchors.shapes.clone()
        assert_named(other.settle_anchors(small, fit), "--model.fit_anchors true")
        assert torch.equal(other.anchors.shapes, before)
    before = own.anchors.shapes.clone()
    assert "--model." not in own.settle_anchors(small, None)
    assert torch.equal(own.anchors.shapes, before), "they reach enough"


def test_heads_without_anchors_have_nothing_to_say_of_them():
    assert FCOS(Features([32], [8]), 3).settle_anchors(np.ones((5, 2)), None) is None


def test_heads_without_anchors_and_data_without_boxes_are_refused():
    features = Features([32], [8])
    with refuses(ConfigError, "FCOS", "--model.fit_anchors"):
        FCOS(features, 3).fit_anchors(np.ones((5, 2)))
    with refuses(ConfigError, "--model.fit_anchors"):
        FasterRCNN(features, 3).fit_anchors(np.zeros((0, 2)))
