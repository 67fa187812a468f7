"""Faster R-CNN on blood cells: what seven epochs from scratch give, and pictures per second against torchvision's.

Both networks are a ResNet-18 with a pyramid of 128 channels, the same anchors and the same numbers of proposals and
samples, trained by one plain loop on the same random batch, in bf16 and channels_last; torchvision's own transform pads
and normalises. The quality is that of `cli.py fit` on a folder like BCCD's (Pascal VOC), judged on its test pictures.
"""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import detection as torchvisions
from torchvision.models import resnet18
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.ops import MultiScaleRoIAlign

from benchmarks.fits import fitted, show
from benchmarks.rcnn import objects
from benchmarks.report import Comparison, compare, in_pairs, parser
from modules.heads.detection import FasterRCNN
from modules.necks import FPN
from tasks import Detection

MARK = ">= 1.0"
CLASSES = 3
OBJECTS = 13  # in a picture: as many as in BCCD's on average
ANCHORS = (16, 32, 64, 128, 256)  # pixels, one size for each map
WARM_UP = 2
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
        image = task.backbone.normalise(image).contiguous(memory_format=torch.channels_last)
        return task.head(image, task.neck(task.backbone(image)), inside, targets)[1]


class Peer(nn.Module):
    """torchvision's Faster R-CNN; its labels start at 1, its pictures come one by one, in 0..1."""

    def __init__(self, size: tuple[int, int]) -> None:
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


def rate(network: nn.Module, size: tuple[int, int], batch: int, steps: int) -> float:
    """Pictures per second of training steps on one batch."""
    torch.manual_seed(0)
    image = torch.randint(0, 256, (batch, 3, *size)).float()
    targets = [
        {"boxes": objects(OBJECTS, *size), "labels": torch.randint(0, CLASSES, (OBJECTS,))} for _ in range(batch)
    ]
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-4, fused=True)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            loss = sum(network(image, targets).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return batch * steps / (time.perf_counter() - began)


def trained(root: Path, size: tuple[int, int], epochs: int, seed: int, options: list[str]) -> dict[str, float]:
    """Figures of `cli.py fit` on pictures and boxes in `root`."""
    typed = {
        "--seed_everything": seed,
        "--data": "Objects",
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
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="BCCD's folder; without it only the speed is measured")
    options.add_argument("--size", type=int, nargs=2, default=(240, 320), help="height and width in pixels")
    options.add_argument("--batch_size", type=int, default=4)
    options.add_argument("--steps", type=int, default=8, help="steps that count")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    options.add_argument("--epochs", type=int, default=7, help="of the training on BCCD")
    options.add_argument("--seed", type=int, default=0)
    args, typed = options.parse_known_args(argv)
    size = tuple(args.size)
    run = size, args.batch_size, args.steps
    rates = in_pairs(lambda: rate(Ours(), *run), lambda: rate(Peer(size), *run), args.repeats)
    what = f"Faster R-CNN, ResNet-18, {size[0]} x {size[1]}, batch {args.batch_size}"
    rows = [Comparison(what, "pictures/s", *rates, MARK)]
    found = trained(args.root.resolve(), size, args.epochs, args.seed, typed) if args.root else {}
    show(found)
    title = f"Detection, training steps, {args.repeats} pairs"
    return compare("detection", title, rows, "torchvision", args.json, steps=args.steps, bccd=found)


if __name__ == "__main__":
    main()
