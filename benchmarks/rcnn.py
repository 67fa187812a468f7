"""Seconds per image of a shared feature map: Fast R-CNN beside R-CNN on the same proposals.

    python -m benchmarks.rcnn
    python -m benchmarks.rcnn --proposals 2000 --crop 224

Both have the same backbone and classify the same boxes of the same images. R-CNN runs the backbone on a crop of every
box, Fast R-CNN once on the image, and pools its map of stride 16. Weights and images are random, which changes no
duration. `detect` is evaluation with all proposals, `train` one step with 64 of each image and two objects.
"""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.report import Comparison, compare, in_pairs, parser
from modules.backbones import Timm
from modules.heads.detection import RCNN, FastRCNN

CLASSES = 3


class Network(nn.Module):
    """A backbone and one of the two heads."""

    def __init__(self, backbone: str, crop: int | None):
        super().__init__()
        self.backbone = Timm(backbone)
        features = self.backbone.features
        self.head = FastRCNN(features, CLASSES, stride=16) if crop is None else RCNN(features, CLASSES, size=crop)
        self.to(memory_format=torch.channels_last)

    def forward(self, image: Tensor, boxes: list[Tensor], targets: list[dict[str, Tensor]] | None = None):
        inside = torch.tensor([image.shape[-2:]] * len(image))
        maps = self.backbone if self.head.crops else self.backbone(image)
        return self.head(image, maps, inside, targets, boxes)


def objects(count: int, height: int, width: int) -> Tensor:
    """Boxes (count, 4) of 16 pixels and more inside of an image."""
    side = torch.tensor([width, height])
    low, high = ((side - 16) * torch.rand(2, count, 2)).sort(0).values
    return torch.cat([low, high + 16], 1)


def seconds(run: Callable[[], Any], images: int) -> float:
    """Seconds per image."""
    began = time.perf_counter()
    run()
    return (time.perf_counter() - began) / images


def detect(network: Network, image: Tensor, boxes: list[Tensor]) -> None:
    network.eval()
    with torch.inference_mode():
        network(image, boxes)


def train(network: Network, image: Tensor, boxes: list[Tensor], targets: list[dict[str, Tensor]]) -> None:
    network.train().zero_grad()
    _, losses = network(image, boxes, targets)
    sum(losses.values()).backward()


def measure(
    backbone: str, size: tuple[int, int], proposals: int, crop: int, images: int, repeats: int
) -> list[Comparison]:
    torch.manual_seed(0)
    image = torch.randn(images, 3, *size).contiguous(memory_format=torch.channels_last)
    boxes = [objects(proposals, *size) for _ in range(images)]
    targets = [{"boxes": objects(2, *size), "labels": torch.randint(CLASSES, (2,))} for _ in range(images)]
    fast, slow = Network(backbone, None), Network(backbone, crop)
    rows = []
    for name, run in (
        ("detect", lambda network: detect(network, image, boxes)),
        ("train", lambda network: train(network, image, boxes, targets)),
    ):
        run(fast)  # the first pass of a size is slower
        durations = in_pairs(
            lambda run=run: seconds(lambda: run(fast), images),
            lambda run=run: seconds(lambda: run(slow), images),
            repeats,
        )
        rows.append(Comparison(name, "s/image", *durations))
    return rows


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--backbone", default="resnet18", help="any timm model")
    options.add_argument("--size", type=int, nargs=2, default=(240, 320), metavar=("HEIGHT", "WIDTH"))
    options.add_argument("--proposals", type=int, default=300, help="boxes in each image")
    options.add_argument("--crop", type=int, default=64, help="side of R-CNN's crops in pixels")
    options.add_argument("--images", type=int, default=2, help="images of a batch")
    options.add_argument("--repeats", type=int, default=3, help="pairs of runs")
    args = options.parse_args(argv)
    rows = measure(args.backbone, tuple(args.size), args.proposals, args.crop, args.images, args.repeats)
    title = f"Fast R-CNN beside R-CNN, {args.proposals} proposals, {torch.get_num_threads()} threads"
    settings = {name: value for name, value in vars(args).items() if name != "json"}
    return compare("rcnn", title, rows, "R-CNN", args.json, **settings)


if __name__ == "__main__":
    main()
