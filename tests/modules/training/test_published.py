"""Published detectors and segmentation networks of torchvision as a start, from files in its format."""

from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.ops import FrozenBatchNorm2d

from modules.contracts import ConfigError, DataError
from modules.heads import FCN, DeepLabV3, UNet
from modules.heads.detection import FCOS, FasterRCNN, MaskRCNN, RetinaNet
from modules.necks import FPN
from tasks import Detection, InstanceSegmentation, SemanticSegmentation
from tests.helpers.errors import refuses

COCO = get_model_weights("fasterrcnn_resnet50_fpn").DEFAULT.meta["categories"]
VOC = get_model_weights("fcn_resnet50").DEFAULT.meta["categories"]
POOL, P6P7 = partial(FPN, extra="pool"), partial(FPN, levels=3, extra="p6p7")
CLASSES = ["zebu", "dog", "person"]


def frozen(module: nn.Module, eps: float) -> None:
    """Put frozen batch norms in place of others, with small variances, of which epsilon is a large part."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            norm = FrozenBatchNorm2d(child.num_features, eps)
            norm.running_var.copy_(torch.rand(child.num_features) * 1e-4 + 1e-4)
            norm.weight.fill_(0.01)
            setattr(module, name, norm)
        else:
            frozen(child, eps)


def detector(name: str, path: Path) -> nn.Module:
    """A network of torchvision's with frozen norms, and its file."""
    net = (
        get_model(name, weights=None, weights_backbone=None, box_score_thresh=0.0, box_detections_per_img=20)
        if ("rcnn" in name)
        else get_model(name, weights=None, weights_backbone=None)
    )
    frozen(net.backbone, 1e-5 if name.startswith("fcos") else 0.0)
    torch.save(net.state_dict(), path)
    return net.eval()


def started(task):
    task._load()
    return task.eval()


def test_a_published_detector_answers_as_torchvisions(tmp_path):
    theirs = detector("fasterrcnn_resnet50_fpn", path := tmp_path / "net.pth")
    head = partial(FasterRCNN, score_threshold=0.0, detections=20)
    classes = ["new", *(name for name in COCO[:0:-1] if name != "N/A")]
    known = [COCO.index(name) for name in classes[1:]]
    ours = started(Detection(backbone="resnet50", head=head, neck=POOL, classes=classes, init_from=str(path)))
    image = torch.rand(1, 3, 96, 128)
    maps, expected = ours.neck(ours.backbone(image)), theirs.backbone(image)
    for ours_level, level in zip(maps, expected.values(), strict=True):
        torch.testing.assert_close(ours_level, level, atol=1e-4, rtol=1e-4)
    regions = torch.rand(5, 1024)
    scores, offsets = ours.head.roi_heads.box_predictor(regions)
    all_scores, all_offsets = theirs.roi_heads.box_predictor(regions)
    torch.testing.assert_close(scores[:, [0, *range(2, 82)]], all_scores[:, [0, *known]])
    offsets, all_offsets = (x.unflatten(1, (-1, 4)) for x in (offsets, all_offsets))
    torch.testing.assert_close(offsets[:, 2:], all_offsets[:, known])
    assert ours.head.rpn.state_dict().keys() - {"anchor_generator.shapes"} == theirs.rpn.state_dict().keys()


@pytest.mark.parametrize(
    ("task", "head", "neck", "name", "layer"),
    [
        (InstanceSegmentation, MaskRCNN, POOL, "maskrcnn", "head.roi_heads.mask_predictor.mask_fcn_logits.weight"),
        (Detection, RetinaNet, P6P7, "retinanet", "head.net.head.classification_head.cls_logits.weight"),
        (Detection, FCOS, P6P7, "fcos", "head.net.head.classification_head.cls_logits.weight"),
    ],
)
def test_rows_of_known_classes_are_those_that_torchvision_publishes(tmp_path, task, head, neck, name, layer):
    theirs = detector(f"{name}_resnet50_fpn", path := tmp_path / "net.pth").state_dict()
    ours = started(task(backbone="resnet50", head=head, neck=neck, classes=CLASSES, init_from=str(path))).state_dict()
    there = theirs[layer.removeprefix("head." if "roi" in layer else "head.net.")]
    beside = int(head is MaskRCNN)
    rows, all_rows = (x.unflatten(0, (-1, count)) for x, count in ((ours[layer], 3 + beside), (there, 91)))
    for name in ("dog", "person"):
        assert torch.equal(rows[:, CLASSES.index(name) + beside], all_rows[:, COCO.index(name)])
    key = "layer1.0.bn1.running_var"
    eps = 0 if head is FCOS else 1e-5
    torch.testing.assert_close(ours[f"backbone.net.{key}"] + eps, theirs[f"backbone.body.{key}"])
    assert torch.equal(ours["neck.net.inner_blocks.0.0.weight"], theirs["backbone.fpn.inner_blocks.0.0.weight"])


@pytest.mark.parametrize(("head", "name"), [(DeepLabV3, "deeplabv3_resnet50"), (FCN, "fcn_resnet50")])
def test_a_published_segmentation_network_answers_as_torchvisions(tmp_path, head, name):
    theirs = get_model(name, weights=None, weights_backbone=None, aux_loss=True).eval()
    torch.save(theirs.state_dict(), path := tmp_path / "net.pth")
    classes = ["background", *VOC[:0:-1]]
    task = SemanticSegmentation(backbone="resnet50", output_stride=8, head=head, classes=classes, init_from=str(path))
    image = torch.rand(1, 3, 64, 96)
    with torch.no_grad():
        found, expected = started(task)(image), theirs(image)["out"]
    torch.testing.assert_close(found, expected[:, [0, *range(20, 0, -1)]], atol=1e-4, rtol=1e-4)


def test_what_is_not_published_is_refused(tmp_path):
    start = partial(Detection, classes=CLASSES, head=FasterRCNN, neck=POOL)
    torch.save({"a": torch.zeros(1)}, path := tmp_path / "other.pth")
    with refuses(ConfigError, "resnet18", "FasterRCNN", "fasterrcnn_resnet50_fpn", "--model.weights"):
        start(backbone="resnet18", init_from="torchvision")._load()
    with refuses(ConfigError, "UNet", "deeplabv3_resnet50"):
        SemanticSegmentation(backbone="resnet50", head=UNet, classes=CLASSES, init_from=str(path))._load()
    with refuses(ConfigError, path, "fasterrcnn_resnet50_fpn"):
        start(backbone="resnet50", init_from=str(path))._load()
    with refuses(DataError, "none.pth"):
        start(backbone="resnet50", init_from=str(tmp_path / "none.pth"))._load()
    with refuses(ConfigError, "model.weights", "--model.init_from torchvision"):
        start(backbone="resnet50", weights="torchvision")


def test_parts_of_other_sizes_are_refused(tmp_path):
    detector("fasterrcnn_resnet50_fpn", path := tmp_path / "net.pth")
    small = Detection(
        backbone="resnet50", head=partial(FasterRCNN, hidden=8), neck=POOL, classes=CLASSES, init_from=str(path)
    )
    with refuses(ConfigError, "head.roi_heads.box_head.fc6.weight", "1024x12544", "8x12544"):
        small._load()
