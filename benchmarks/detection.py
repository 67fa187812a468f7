"""Faster R-CNN on blood cells: AP after seven epochs from scratch, and images per second against torchvision's.

Both networks are a ResNet-18 with a pyramid of 128 channels, the same anchors and the same numbers of proposals and
samples, trained by one plain loop on the same random batch, in the precision that `cli.py` chooses here and
channels_last; torchvision's own transform pads and normalizes. The quality is that of `cli.py fit` on a folder like
BCCD's (Pascal VOC), evaluated on its test images.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection as torchvisions
from torchvision.models import resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.fits import Size, fitted, rate, run
from benchmarks.rcnn import objects
from modules.heads.detection import FasterRCNN
from modules.necks import FPN
from tasks import Detection

CLASSES = 3
OBJECTS = 13  # in an image: as many as in BCCD's on average
ANCHORS = (16, 32, 64, 128, 256)  # pixels, one size for each map
Targets = list[dict[str, Tensor]]


class Ours(nn.Module):
    """The task's parts, in a plain module."""

    def __init__(self) -> None:
        super().__init__()
        self.task = Detection(
            backbone="resnet18",
            classes=[f"class {i}" for i in range(CLASSES)],
            neck=lambda features: FPN(features, channels=128, extra="pool"),
            head=lambda features, classes: FasterRCNN(features, classes, anchor_sizes=list(ANCHORS)),
        )

    def forward(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        task, inside = self.task, torch.tensor([image.shape[-2:]] * len(image))
        image = task.backbone.normalize(image).contiguous(memory_format=torch.channels_last)
        return task.head(image, task.neck(task.backbone(image)), inside, targets)[1]


class Peer(nn.Module):
    """torchvision's Faster R-CNN; its labels start at 1, its images come one by one, in 0..1."""

    def __init__(self, size: Size) -> None:
        super().__init__()
        names = [str(level) for level in range(4)]
        layers = {f"layer{level + 1}": name for level, name in enumerate(names)}
        self.net = torchvisions.FasterRCNN(
            BackboneWithFPN(resnet18(), layers, [64, 128, 256, 512], 128),
            CLASSES + 1,
            min_size=min(size),
            max_size=max(size),
            rpn_anchor_generator=AnchorGenerator(tuple((size,) for size in ANCHORS), ((0.5, 1.0, 2.0),) * len(ANCHORS)),
            box_roi_pool=MultiScaleRoIAlign(names, 7, 2),
        )

    def forward(self, image: Tensor, targets: Targets) -> dict[str, Tensor]:
        return self.net(list(image / 255), [{**target, "labels": target["labels"] + 1} for target in targets])


def rated(network: nn.Module, size: Size, batch: int, steps: int) -> float:
    """Images per second of training steps on one batch."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, *size), dtype=torch.uint8)
    targets = [
        {"boxes": objects(OBJECTS, *size), "labels": torch.randint(0, CLASSES, (OBJECTS,))} for _ in range(batch)
    ]
    return rate(network, lambda network: sum(network(image, targets).values()), batch, steps)


def ours(size: Size, batch: int, steps: int) -> float:
    return rated(Ours(), size, batch, steps)


def peer(size: Size, batch: int, steps: int) -> float:
    return rated(Peer(size), size, batch, steps)


def trained(root: Path, size: Size, epochs: int, seed: int, options: list[str]) -> dict[str, float]:
    """Metrics of `cli.py fit` on images and boxes in `root`."""
    typed = {
        "--seed_everything": seed,
        "--data": "DetectionFolder",
        "--data.root": str(root),
        "--data.image_size": list(size),
        "--data.batch_size": 4,
        "--model.backbone": "resnet18",
        "--model.neck": {"class_path": "FPN", "init_args": {"channels": 128, "levels": 4, "extra": "pool"}},
        "--model.head": {
            "class_path": "FasterRCNN",
            "init_args": {"anchor_sizes": list(ANCHORS), "proposals": 1000, "samples": 512, "hidden": 1024},
        },
        "--model.optim.lr": 0.0005,
        "--trainer.max_epochs": epochs,
        "--trainer.check_val_every_n_epoch": epochs,
    }
    return fitted("detection", typed, options)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    network = "Faster R-CNN, ResNet-18"
    return run(argv, __doc__ or "", "detection", network, "torchvision", (ours, peer), trained, (240, 320), 4, 7)


if __name__ == "__main__":
    main()
