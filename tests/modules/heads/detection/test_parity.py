"""Whole detectors against torchvision's with the same weights: same detections, same losses.

Weights are random, so the last layers are scaled until there is something to compare.
"""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor, nn
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import DefaultBoxGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import remove_small_boxes

from modules.backbones import Timm
from modules.contracts import Features
from modules.decoding.boxes import take
from modules.decoding.masks import paste
from modules.heads.detection import FCOS, SSD, Detector, FasterRCNN, KeypointHead, KeypointRCNN, MaskRCNN, RetinaNet
from modules.necks import FPN

CLASSES = 4
KEYPOINTS = 5
SIZES = [(96, 128), (96, 112)]  # torchvision resizes neither, and pads the second
PARTS = {"rpn.": "rpn.", "roi_heads.": "roi_heads.", "head.": "net.head."}


def torchvisions(build: Callable, classes: int, **limits) -> nn.Module:
    net = build(
        weights=None, weights_backbone=None, num_classes=classes, min_size=96, max_size=128, _skip_resize=True, **limits
    )
    with torch.no_grad():  # statistics that fit the weights, else activations explode
        for module in net.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
        net.backbone.train()(torch.randn(2, 3, 96, 128))
    return net.eval()


def scaled(net: nn.Module, factors: dict[str, float]) -> nn.Module:
    for name, parameter in net.named_parameters():
        for end, factor in factors.items():
            if name.endswith(end):
                parameter.data.mul_(factor)
    return net


class Ours(nn.Module):
    """Backbone, neck and head with the tensors of torchvision's network."""

    def __init__(self, theirs: nn.Module, head: type[Detector], neck: dict, **settings):
        super().__init__()
        self.backbone = Timm("resnet50")
        self.neck = FPN(self.backbone.features, **neck)
        self.head = head(self.neck.features, CLASSES, **settings)
        if isinstance(self.head, KeypointHead):
            self.head.make_keypoints(KEYPOINTS)
        self.backbone.net.load_state_dict(theirs.backbone.body.state_dict())
        self.neck.net.load_state_dict(theirs.backbone.fpn.state_dict())
        tensors = {
            ours + k.removeprefix(part): v
            for k, v in theirs.state_dict().items()
            for part, ours in PARTS.items()
            if k.startswith(part)
        }
        shapes = {
            k: v for k, v in self.head.state_dict().items() if k.endswith(".shapes")
        }  # torchvision keeps no anchors
        self.head.load_state_dict(tensors | shapes)

    def forward(self, images: ImageList, targets: list[dict[str, Tensor]] | None = None):
        inside = torch.tensor(images.image_sizes)
        return self.head(images.tensors, self.neck(self.backbone(images.tensors)), inside, targets)


def make_images() -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)  # drawing from the global one would undo the seeds of the losses
    return [torch.rand(3, *size, generator=generator) for size in SIZES]


def targets(masks: bool = False) -> list[dict[str, Tensor]]:
    """Three objects in the first image, none in the second."""
    boxes = torch.tensor([[5.0, 8.0, 60.0, 70.0], [30.0, 20.0, 52.0, 41.0], [70.0, 4.0, 127.0, 95.0]])
    some = {"boxes": boxes, "labels": torch.tensor([0, 3, 1]), "masks": torch.zeros(3, *SIZES[0], dtype=torch.uint8)}
    for mask, (x1, y1, x2, y2) in zip(some["masks"], boxes.int().tolist(), strict=True):
        mask[y1 : (y1 + y2) // 2, x1:x2] = 1
    none = {key: value[:0] for key, value in some.items()}
    none["masks"] = torch.zeros(0, *SIZES[1], dtype=torch.uint8)
    return [{k: v for k, v in target.items() if masks or k != "masks"} for target in (some, none)]


def shifted(detections: list[dict[str, Tensor]], by: int) -> list[dict[str, Tensor]]:
    return [{**each, "labels": each["labels"] + by} for each in detections]


def same_detections(ours: list[dict[str, Tensor]], theirs: list[dict[str, Tensor]], least: int) -> None:
    for a, b in zip(ours, theirs, strict=True):
        b = take(b, remove_small_boxes(b["boxes"], 1e-2))
        assert len(b["boxes"]) >= least and len(b["labels"].unique()) > 1
        torch.testing.assert_close(a["labels"], b["labels"])
        torch.testing.assert_close(a["scores"], b["scores"], atol=1e-4, rtol=0)
        torch.testing.assert_close(a["boxes"], b["boxes"], atol=1e-4, rtol=0)


def same_losses(ours: nn.Module, theirs: nn.Module, names: dict[str, str], truth: list, for_theirs: list) -> None:
    images, _ = theirs.transform(make_images(), None)
    torch.manual_seed(1)
    expected = theirs.train()(make_images(), for_theirs)
    torch.manual_seed(1)
    found, losses = ours.train()(images, truth)
    assert found == [] and set(names) == set(expected) and set(names.values()) == set(losses)
    for name, loss in expected.items():
        assert loss > 0
        torch.testing.assert_close(losses[names[name]], loss, atol=1e-5, rtol=1e-4)


TWO_STAGE = {
    "loss_objectness": "rpn_objectness",
    "loss_rpn_box_reg": "rpn_box",
    "loss_classifier": "classifier",
    "loss_box_reg": "box",
}
ONE_STAGE = {"classification": "classifier", "bbox_regression": "box"}
PREDICTOR = {
    "box_predictor.cls_score.weight": 0.1,
    "box_predictor.bbox_pred.weight": 0.5,
    "rpn.head.bbox_pred.weight": 0.3,
    "mask_fcn_logits.weight": 3.0,
}
FEW = {
    f"rpn_{when}_nms_top_n_{stage}": most for when in ("pre", "post") for stage, most in (("train", 400), ("test", 200))
}
POOL = {"extra": "pool"}
P6P7 = {"levels": 3, "extra": "p6p7"}


def test_faster_rcnn_is_torchvisions():
    theirs = scaled(torchvisions(detection.fasterrcnn_resnet50_fpn, CLASSES + 1, **FEW), PREDICTOR)
    ours = Ours(theirs, FasterRCNN, POOL, proposals=200).eval()
    images, _ = theirs.transform(make_images(), None)
    same_detections(shifted(ours(images)[0], 1), theirs(make_images()), least=20)
    same_losses(ours, theirs, TWO_STAGE, targets(), shifted(targets(), 1))


def test_mask_rcnn_is_torchvisions():
    theirs = scaled(
        torchvisions(detection.maskrcnn_resnet50_fpn, CLASSES + 1, box_detections_per_img=25, **FEW), PREDICTOR
    )
    ours = Ours(theirs, MaskRCNN, POOL, proposals=200, detections=25).eval()
    images, _ = theirs.transform(make_images(), None)
    found, expected = ours(images)[0], theirs(make_images())
    same_detections(shifted(found, 1), expected, least=20)
    for a, b, size in zip(found, expected, SIZES, strict=True):
        pasted = paste_masks_in_image(a["mask_probabilities"][:, None], b["boxes"], size)
        torch.testing.assert_close(pasted, b["masks"], atol=1e-4, rtol=0)
        cut = b["masks"][:, 0] > 0.5
        assert 500 < cut.sum() < cut.numel() / 2
        drawn = torch.from_numpy(coco.decode(paste(a["mask_probabilities"], a["boxes"], size))).permute(2, 0, 1)
        assert (drawn != cut).float().mean() < 1e-4  # pixels at 0.5 itself
    same_losses(ours, theirs, TWO_STAGE | {"loss_mask": "mask"}, targets(masks=True), shifted(targets(masks=True), 1))


def test_keypoint_rcnn_is_torchvisions():
    torch.manual_seed(1)  # classes of several kinds are found
    build = partial(detection.keypointrcnn_resnet50_fpn, num_keypoints=KEYPOINTS, box_detections_per_img=25)
    theirs = scaled(torchvisions(build, CLASSES + 1, **FEW), PREDICTOR)
    ours = Ours(theirs, KeypointRCNN, POOL, proposals=200, detections=25).eval()
    images, _ = theirs.transform(make_images(), None)
    found, expected = ours(images)[0], theirs(make_images())
    same_detections(shifted(found, 1), expected, least=20)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a["keypoints"][..., :2], b["keypoints"][..., :2], atol=1e-3, rtol=0)
        scores = a["keypoints"][..., 2]
        assert ((scores > 0) & (scores <= 1)).all()
    truth = [target | {"keypoints": points_in(target["boxes"])} for target in targets()]
    same_losses(ours, theirs, TWO_STAGE | {"loss_keypoint": "keypoint"}, truth, shifted(truth, 1))


def points_in(boxes: Tensor) -> Tensor:
    """Keypoints (N, K, 3) along the diagonal of each box; the last is not labeled."""
    share = torch.linspace(0.1, 0.9, KEYPOINTS)[:, None]
    points = boxes[:, None, :2] * (1 - share) + boxes[:, None, 2:] * share
    return torch.cat([points, torch.tensor([2.0, 1, 2, 2, 0]).expand(len(boxes), -1)[..., None]], 2)


@pytest.mark.parametrize("version", [1, 2])
def test_retinanet_is_torchvisions(version):
    theirs = torchvisions(detection.retinanet_resnet50_fpn, CLASSES)
    settings = {}
    if version == 2:  # as retinanet_resnet50_fpn_v2, but for its neck
        theirs.head = RetinaNetHead(256, 9, CLASSES, partial(nn.GroupNorm, 32))
        theirs.head.regression_head._loss_type = "giou"
        settings = {"group_norm": True, "box_loss": "giou"}
    scaled(theirs, {"cls_logits.weight": 60.0, "cls_logits.bias": 0.3, "bbox_reg.weight": 2.0})
    ours = Ours(theirs, RetinaNet, P6P7, detections=300, **settings).eval()
    images, _ = theirs.transform(make_images(), None)
    same_detections(ours(images)[0], theirs(make_images()), least=20)
    same_losses(ours, theirs, ONE_STAGE, targets(), targets())


def test_fcos_is_torchvisions():
    theirs = torchvisions(detection.fcos_resnet50_fpn, CLASSES)
    scaled(theirs, {"cls_logits.weight": 10.0, "cls_logits.bias": 0.3, "bbox_reg.weight": 20.0})
    ours = Ours(theirs, FCOS, P6P7, score_threshold=0.2, nms_threshold=0.6).eval()
    images, _ = theirs.transform(make_images(), None)
    same_detections(ours(images)[0], theirs(make_images()), least=20)
    same_losses(ours, theirs, ONE_STAGE | {"bbox_ctrness": "centerness"}, targets(), targets())


class Given(nn.Module):
    """A backbone that has its maps already."""

    def __init__(self, maps: list[Tensor]):
        super().__init__()
        self.maps = maps

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {str(i): each for i, each in enumerate(self.maps)}


def test_ssd_is_torchvisions_on_the_same_maps():
    features, side = Features([16, 24, 32], [8, 16, 32]), 96
    maps = [torch.randn(2, c, side // s, side // s) for c, s in zip(*features, strict=True)]
    ours = SSD(features, CLASSES, anchor_sizes=[16.0, 32.0, 48.0], levels=3, score_threshold=0.01, detections=200)
    ours = scaled(ours, {"module_list.0.weight": 2.0, "module_list.1.weight": 2.0})
    boxes = DefaultBoxGenerator(
        [[2, 3]] * 3, scales=[16 / 96, 32 / 96, 48 / 96, 72 / 96], steps=[8, 16, 32], clip=False
    )
    theirs = detection.ssd.SSD(Given(maps), boxes, (side, side), CLASSES + 1, head=ours.net.head, nms_thresh=0.5)
    make_images, inside = torch.rand(2, 3, side, side), torch.full((2, 2), side)
    found, _ = ours.eval()(make_images, maps, inside)
    same_detections(shifted(found, 1), theirs.eval()(list(make_images)), least=20)

    truth = targets()
    truth[0]["boxes"] = truth[0]["boxes"].clamp(max=side)
    truth[1] = truth[0] | {"labels": truth[0]["labels"].flip(0)}
    expected = theirs.train()(list(make_images), shifted(truth, 1))
    _, losses = ours.train()(make_images, maps, inside, truth)
    for name, loss in expected.items():
        torch.testing.assert_close(losses[ONE_STAGE[name]], loss)
