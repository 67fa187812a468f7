"""Contract of every detector, and each beside torchvision's networks."""

import pytest
import torch
from pycocotools import mask as coco
from torch import Tensor, nn
from torchvision.ops import box_iou

from modules.contracts import ConfigError, Features
from modules.decoding.masks import paste
from modules.decoding.objects import Shown, infer
from modules.decoding.tta import TTA, TiledTTA
from modules.heads.detection import (
    DETR,
    FCOS,
    RCNN,
    SSD,
    Detector,
    FasterRCNN,
    FastRCNN,
    MaskRCNN,
    RetinaNet,
    SingleObject,
)
from tests.helpers.errors import refuses

FEATURES = Features([32, 32, 32], [8, 16, 32])
SMALL = {"proposals": 50, "samples": 32, "hidden": 32}
HEADS = {
    "DETR": lambda **kw: DETR(FEATURES, 3, width=32, layers=2, queries=30, denoising=10, **kw),
    "DETR, dense": lambda **kw: DETR(FEATURES, 3, width=32, layers=1, queries=30, attention="dense", **kw),
    "FasterRCNN": lambda **kw: FasterRCNN(FEATURES, 3, **SMALL, **kw),
    "MaskRCNN": lambda **kw: MaskRCNN(FEATURES, 3, mask_channels=8, **SMALL, **kw),
    "FastRCNN": lambda **kw: FastRCNN(FEATURES, 3, samples=32, hidden=32, **kw),
    "FastRCNN, RoIPool": lambda **kw: FastRCNN(FEATURES, 3, stride=16, pooling="pool", samples=32, hidden=32, **kw),
    "RCNN": lambda **kw: RCNN(FEATURES, 3, size=32, samples=16, **kw),
    "RetinaNet": lambda **kw: RetinaNet(FEATURES, 3, **kw),
    "FCOS": lambda **kw: FCOS(FEATURES, 3, **kw),
    "SSD": lambda **kw: SSD(FEATURES, 3, levels=4, **kw),
    "SingleObject": lambda **kw: SingleObject(FEATURES, 3, hidden=32, **kw),
}
every_head = pytest.mark.parametrize("name", HEADS)


class Encoder(nn.Module):
    """Three maps by one convolution each; as little of a backbone as there can be."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(3, 32, s, s) for s in FEATURES.strides])

    def forward(self, image: Tensor) -> list[Tensor]:
        return [layer(image) for layer in self.layers]


class Blur(nn.Conv2d):
    """Lets padding reach into the image, as deep networks do."""

    def __init__(self):
        super().__init__(3, 3, 15, padding=7)


def objects(count: int, height: int = 64, width: int = 96) -> dict[str, Tensor]:
    corner = torch.rand(count, 2) * torch.tensor([width / 2, height / 2])
    boxes = torch.cat([corner, corner + 12 + torch.rand(count, 2) * 16], 1)
    masks = torch.zeros(count, height, width, dtype=torch.uint8)
    for mask, (x1, y1, x2, y2) in zip(masks, boxes.int().tolist(), strict=True):
        mask[y1:y2, x1:x2] = 1
    return {"boxes": boxes, "labels": torch.randint(0, 3, (count,)), "masks": masks}


def proposals(images: int = 2) -> list[Tensor]:
    return [objects(40)["boxes"] for _ in range(images)]


def run(head: Detector, encoder: Encoder, image: Tensor, inside: Tensor, targets: list | None = None):
    return head(image, encoder if head.crops else encoder(image), inside, targets, proposals(len(image)))


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(2, 3, 64, 96), torch.tensor([[64, 96], [40, 72]])


@every_head
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_detections_are_what_the_contract_says(name, half):
    head = HEADS[name](score_threshold=0.0, detections=7).eval()
    if name in ("FCOS", "RetinaNet"):  # scores so alike at the start that rounding would order them
        for weight in head.net.head.classification_head.parameters():
            if weight.ndim == 4:
                nn.init.kaiming_normal_(weight)
    if name == "FCOS":  # boxes too
        nn.init.constant_(head.net.head.regression_head.bbox_reg.bias, 1.0)
    image, inside = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=half), torch.inference_mode():
        found, losses = run(head, Encoder(), image, inside)
    assert losses == {} and len(found) == 2
    for detection, (height, width) in zip(found, inside.tolist(), strict=True):
        boxes, scores, labels = (detection[key] for key in ("boxes", "scores", "labels"))
        assert 1 <= len(boxes) <= 7 and boxes.shape == (len(boxes), 4) and boxes.dtype == torch.float32
        assert boxes.min() >= 0 and boxes[:, 2].max() <= width and boxes[:, 3].max() <= height
        assert (boxes[:, 2:] > boxes[:, :2]).all()
        assert scores.dtype == torch.float32 and ((scores >= 0) & (scores <= 1)).all()
        assert (scores.diff() <= 0).all()
        assert labels.dtype == torch.int64 and set(labels.tolist()) <= {0, 1, 2}
        assert ("mask_probabilities" in detection) == (name == "MaskRCNN")
        if name == "MaskRCNN":
            assert detection["mask_probabilities"].shape == (len(boxes), 28, 28)
            assert detection["mask_probabilities"].dtype == torch.float32


@every_head
@pytest.mark.parametrize(
    "tiled", [TiledTTA(), TiledTTA(TTA(True, (1.0, 1.5)), tile_size=48)], ids=["plain", "tiled TTA"]
)
def test_an_image_has_the_same_boxes_alone_and_in_a_batch_of_other_sizes(name, tiled):
    head, encoder = HEADS[name](score_threshold=0.0, detections=20).eval(), nn.Sequential(Blur(), Encoder())
    if name in ("FCOS", "RetinaNet"):  # scores so alike at the start that rounding would order them
        for weight in head.net.head.classification_head.parameters():
            if weight.ndim == 4:
                nn.init.kaiming_normal_(weight)
    if name == "FCOS":  # boxes too
        nn.init.constant_(head.net.head.regression_head.bbox_reg.bias, 1.0)
    sizes, black = [(64, 96), (40, 72), (44, 70), (96, 30)], torch.full((3, 1, 1), -2.0)
    image, given = black.expand(4, 3, 96, 96).clone(), proposals(4)
    for one, (height, width) in zip(image, sizes, strict=True):
        one[:, :height, :width] = torch.randn(3, height, width)

    def find(shown: Shown) -> list:
        maps = encoder if head.crops else encoder(shown.image)
        return head(shown.image, maps, shown.inside, None, shown.proposals)[0]

    def found(rows: list[int], height: int, width: int) -> list:
        shown = Shown(image[rows, :, :height, :width], torch.tensor([sizes[i] for i in rows]), [given[i] for i in rows])
        with torch.no_grad():
            return infer(find, shown, tiled, head.selection, 32, black)

    for i, together in enumerate(found([0, 1, 2, 3], 96, 96)):
        (alone,) = found([i], *(-(-side // 32) * 32 for side in sizes[i]))
        assert len(alone["boxes"]) == len(together["boxes"]) > 0
        for key in ("boxes", "scores", "labels"):
            torch.testing.assert_close(alone[key], together[key], atol=1e-3, rtol=1e-4)


@every_head
@pytest.mark.parametrize("counts", [(2, 0), (0, 0)], ids=["in an image", "in a batch"])
@pytest.mark.parametrize("half", [False, True], ids=["float32", "bfloat16"])
def test_no_objects_leave_losses_finite_and_no_parameter_out(name, counts, half):
    head, encoder = HEADS[name]().train(), Encoder()
    image, inside = batch()
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        found, losses = run(head, encoder, image, inside, [objects(n) for n in counts])
    assert found == [] and losses
    assert all(loss.isfinite() and loss.dtype == torch.float32 for loss in losses.values())
    sum(losses.values()).backward()
    assert [key for key, value in head.named_parameters() if value.grad is None] == []
    assert all(value.grad.isfinite().all() for value in head.parameters())


@pytest.mark.parametrize("name", ["FastRCNN", "RCNN"])
def test_neither_proposals_nor_objects_leave_losses_finite(name):
    head, encoder = HEADS[name]().train(), Encoder()
    image, inside = batch()
    nothing = [torch.zeros(0, 4)] * 2
    maps = encoder if head.crops else encoder(image)
    _, losses = head(image, maps, inside, [objects(0)] * 2, nothing)
    assert all(loss == 0 for loss in losses.values())
    sum(losses.values()).backward()
    assert all(value.grad is not None for value in head.parameters())
    assert [len(each["boxes"]) for each in head.eval()(image, maps, inside, None, nothing)[0]] == [0, 0]


@every_head
def test_losses_in_evaluation_come_with_detections(name):
    head, encoder = HEADS[name](score_threshold=0.0).eval(), Encoder()
    image, inside = batch()
    targets = [objects(3), objects(2)]
    found, losses = run(head, encoder, image, inside, targets)
    assert len(found) == 2
    assert set(losses) == set(run(head.train(), encoder, image, inside, targets)[1])


def test_masks_of_targets_are_only_needed_in_training():
    head, encoder = HEADS["MaskRCNN"](), Encoder()
    image, inside = batch()
    targets = [{key: value for key, value in objects(3).items() if key != "masks"}] * 2
    assert "mask" not in run(head.eval(), encoder, image, inside, targets)[1]
    with refuses(KeyError, "masks"):
        run(head.train(), encoder, image, inside, targets)


@every_head
def test_scores_below_the_threshold_are_dropped(name):
    head = HEADS[name](score_threshold=0.999).eval()
    image, inside = batch()
    found, _ = run(head, Encoder(), image, inside)
    assert all(len(each["scores"]) == 0 for each in found)


@pytest.mark.parametrize("name", [name for name in HEADS if "DETR" not in name])
@pytest.mark.parametrize("settings", [{"agnostic_nms": True}, {"soft_nms": True}], ids=str)
def test_other_kinds_of_nms_work_with_every_head_that_has_nms(name, settings):
    image, inside = batch()
    head = HEADS[name](score_threshold=0.01, nms_threshold=0.3, **settings).eval()
    for each in run(head, Encoder(), image, inside)[0]:
        overlap = box_iou(each["boxes"], each["boxes"]).fill_diagonal_(0)
        assert settings.get("soft_nms") or (overlap <= 0.3).all()


MEMORIZED = {
    "DETR": (HEADS["DETR"], 60, 3e-3),
    "DETR, dense": (HEADS["DETR, dense"], 60, 3e-3),
    "FasterRCNN": (HEADS["FasterRCNN"], 80, 3e-3),
    "MaskRCNN": (HEADS["MaskRCNN"], 80, 3e-3),
    "FCOS": (HEADS["FCOS"], 40, 1e-2),
    "SSD": (lambda: SSD(FEATURES, 3, levels=4, anchor_sizes=[16.0, 32.0, 64.0, 128.0]), 60, 1e-2),
    "RetinaNet": (lambda: RetinaNet(FEATURES, 3, group_norm=True), 60, 3e-3),
}


@pytest.mark.parametrize("name", MEMORIZED)
def test_two_images_can_be_memorized(name):
    """One convolution in front: whether targets, losses, decoding and labels fit together."""
    build, steps, rate = MEMORIZED[name]
    image, inside = torch.zeros(2, 3, 64, 96), torch.tensor([[64, 96]] * 2)
    truth = [
        {"boxes": torch.tensor([[8.0, 8.0, 40.0, 40.0], [56.0, 24.0, 88.0, 56.0]]), "labels": torch.tensor([0, 2])},
        {"boxes": torch.tensor([[40.0, 24.0, 72.0, 56.0]]), "labels": torch.tensor([1])},
    ]
    for shown, target in zip(image, truth, strict=True):
        target["masks"] = torch.zeros(len(target["boxes"]), 64, 96, dtype=torch.uint8)
        for box, label, mask in zip(target["boxes"].int(), target["labels"], target["masks"], strict=True):
            x1, y1, x2, y2 = box.tolist()
            shown[label, y1:y2, x1:x2] = 1.0
            mask[y1 : y1 + 20, x1:x2] = 1
    encoder, head = Encoder(), build()
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)  # the end is no matter of luck
    for _ in range(steps):
        loss = sum(head.train()(image, encoder(image), inside, truth)[1].values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    found, _ = head.eval()(image, encoder(image), inside)
    for each, target in zip(found, truth, strict=True):
        right = (box_iou(target["boxes"], each["boxes"]) > 0.5) & (target["labels"][:, None] == each["labels"])
        score, which = (right * each["scores"]).max(1)
        assert score.min() > 0.3 and 0 in which  # each object is found, and by what the head is surest of
        if name == "MaskRCNN":
            drawn = torch.from_numpy(coco.decode(paste(each["mask_probabilities"], each["boxes"], (64, 96))))
            drawn, wanted = drawn.permute(2, 0, 1)[which], target["masks"]
            assert ((drawn & wanted).sum((1, 2)) / (drawn | wanted).sum((1, 2))).min() > 0.5


@pytest.mark.parametrize(
    ("build", "names"),
    [
        (lambda: FasterRCNN(FEATURES, 3, score_threshold=50), ("head.score_threshold", 50)),
        (lambda: FasterRCNN(FEATURES, 3, nms_threshold=-0.1), ("head.nms_threshold", -0.1)),
        (lambda: FasterRCNN(FEATURES, 3, detections=0), ("head.detections", 0)),
        (lambda: FasterRCNN(FEATURES, 3, anchor_sizes=[8.0, 16.0]), ("head.anchor_sizes", [8.0, 16.0], 3)),
        (lambda: FasterRCNN(FEATURES, 3, ratios=[0.0]), ("head.ratios", [0.0])),
        (lambda: SSD(FEATURES, 3, anchor_sizes=[8.0, 16.0, 24.0], levels=6), ("head.anchor_sizes", 3, 6)),
        (lambda: DETR(FEATURES, 3, finest=64), ("head.finest", 64, [8, 16, 32])),
        (lambda: DETR(FEATURES, 3, width=20), ("head.width", 20, 8)),
        (lambda: DETR(FEATURES, 3, queries=0), ("head.queries", 0)),
        (lambda: DETR(FEATURES, 3, denoising=-1), ("head.denoising", -1)),
        (lambda: SSD(FEATURES, 3, finest=64), ("head.finest", 64, [8, 16, 32])),
        (lambda: FCOS(Features([24, 24], [8, 16]), 3), ("FCOS", 32, 24, "neck.channels")),
        (lambda: RetinaNet(Features([24, 24], [8, 16]), 3, group_norm=True), ("RetinaNet", 32, 24, "neck.channels")),
        (lambda: RetinaNet(Features([32, 64], [8, 16]), 3), ("RetinaNet", [32, 64], "FPN")),
        (lambda: FastRCNN(FEATURES, 3, stride=64), ("head.stride", 64, [8, 16, 32])),
        (lambda: RCNN(FEATURES, 3, context=0.5), ("head.context", 0.5)),
    ],
)
def test_settings_that_cannot_be_are_refused(build, names):
    with refuses(ConfigError, *names):
        build()


@pytest.mark.parametrize("name", ["FastRCNN", "RCNN"])
def test_missing_proposals_are_asked_for(name):
    head, encoder = HEADS[name](source="batch"), Encoder()
    image, inside = batch()
    with refuses(ConfigError, name, "proposals", "head.source"):
        head(image, encoder if head.crops else encoder(image), inside, [objects(1)] * 2)


@pytest.mark.parametrize("head", [FastRCNN(FEATURES, 3, source="windows"), RCNN(FEATURES, 3, source="windows")])
def test_sliding_windows_stand_in_for_proposals(head):
    encoder = Encoder()
    image, inside = batch()
    _, losses = head.train()(image, encoder if head.crops else encoder(image), inside, [objects(1)] * 2)
    assert losses["classifier"] > 0
