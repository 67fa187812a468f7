"""A U-Net on CamVid: what four minutes of training give, and pictures per second against segmentation_models.pytorch.

Both networks are U-Nets on a ResNet-18 from scratch, trained by one plain loop on the same random batch, in bf16 and
channels_last; the peer's gets its pictures padded to a multiple of 32, which it asks for. The quality is that of
`cli.py fit` on the training pictures, judged on the val pictures: mIoU over 11 classes, macro, without void.
"""

import time
from pathlib import Path
from typing import Any

import torch
from segmentation_models_pytorch import Unet
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.fits import fitted, show
from benchmarks.report import Comparison, compare, in_pairs, parser
from modules.contracts import IGNORE
from tasks import SemanticSegmentation

MARK = ">= 1.0"
CLASSES = 11
WARM_UP = 2


class Peer(nn.Module):
    """segmentation_models.pytorch's U-Net on pictures of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Unet("resnet18", encoder_weights=None, classes=CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return self.net(functional.pad(image, (0, -width % 32, 0, -height % 32)))[..., :height, :width]


def rate(network: nn.Module, size: tuple[int, int], batch: int, steps: int) -> float:
    """Pictures per second of training steps on one batch."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, *size, generator=generator).to(memory_format=torch.channels_last)
    mask = torch.randint(0, CLASSES, (batch, *size), generator=generator)
    network = network.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, fused=True)
    for step in range(WARM_UP + steps):
        if step == WARM_UP:
            began = time.perf_counter()
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(image)
        loss = functional.cross_entropy(logits.float(), mask, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return batch * steps / (time.perf_counter() - began)


def trained(root: Path, size: tuple[int, int], epochs: int, seed: int, options: list[str]) -> dict[str, float]:
    """Val figures of `cli.py fit` on CamVid."""
    typed = {
        "--seed_everything": seed,
        "--data": "CamVid",
        "--data.root": str(root),
        "--data.image_size": list(size),
        "--data.scale": [0.75, 1.5],
        "--data.batch_size": 8,
        "--model.backbone": "resnet18",
        "--model.head": "UNet",
        "--model.optim.lr": 0.002,
        "--trainer.max_epochs": epochs,
        "--trainer.check_val_every_n_epoch": epochs,
        "--trainer.limit_test_batches": 0,
    }
    return fitted("semantic_segmentation", typed, options)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, help="CamVid's folder; without it only the speed is measured")
    options.add_argument("--size", type=int, nargs=2, default=(192, 240), help="height and width in pixels")
    options.add_argument("--batch_size", type=int, default=8)
    options.add_argument("--steps", type=int, default=10, help="steps that count")
    options.add_argument("--repeats", type=int, default=5, help="pairs of runs")
    options.add_argument("--epochs", type=int, default=11, help="of the training on CamVid")
    options.add_argument("--seed", type=int, default=0)
    args, typed = options.parse_known_args(argv)
    size = tuple(args.size)
    run = size, args.batch_size, args.steps

    def ours() -> float:
        task = SemanticSegmentation(backbone="resnet18", classes=[f"class {i}" for i in range(CLASSES)])
        return rate(task, *run)

    rates = in_pairs(ours, lambda: rate(Peer(), *run), args.repeats)
    rows = [Comparison(f"U-Net, ResNet-18, {size[0]} x {size[1]}, batch {args.batch_size}", "pictures/s", *rates, MARK)]
    found = trained(args.root.resolve(), size, args.epochs, args.seed, typed) if args.root else {}
    show(found)
    title = f"Segmentation, training steps, {args.repeats} pairs"
    return compare("segmentation", title, rows, "smp", args.json, steps=args.steps, camvid=found)


if __name__ == "__main__":
    main()
