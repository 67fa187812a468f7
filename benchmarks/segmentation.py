"""A U-Net on CamVid: mIoU after four minutes of training, and images per second against segmentation_models.pytorch.

Both networks are U-Nets on a ResNet-18 from scratch, trained by one plain loop on the same random batch, in the
precision that `cli.py` chooses here and channels_last; the peer's gets its images padded to a multiple of 32, which
it asks for. The quality is that of `cli.py fit` on the training images, evaluated on the val images: mIoU over 11
classes, macro, without void.
"""

from pathlib import Path
from typing import Any

import torch
from segmentation_models_pytorch import Unet
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.fits import Size, fitted, rate, run
from modules.contracts import IGNORE
from tasks import SemanticSegmentation

CLASSES = 11


class Peer(nn.Module):
    """segmentation_models.pytorch's U-Net on images of any size."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Unet("resnet18", encoder_weights=None, classes=CLASSES)

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        return self.net(functional.pad(image, (0, -width % 32, 0, -height % 32)))[..., :height, :width]


def rated(network: nn.Module, size: Size, batch: int, steps: int) -> float:
    """Images per second of training steps on one batch."""
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 3, *size, generator=generator).to(memory_format=torch.channels_last)
    mask = torch.randint(0, CLASSES, (batch, *size), generator=generator)

    def loss(network: nn.Module) -> Tensor:
        return functional.cross_entropy(network(image).float(), mask, ignore_index=IGNORE)

    return rate(network, loss, batch, steps)


def ours(*step: Any) -> float:
    task = SemanticSegmentation(backbone="resnet18", classes=[f"class {i}" for i in range(CLASSES)])
    return rated(task, *step)


def peer(*step: Any) -> float:
    return rated(Peer(), *step)


def trained(root: Path, size: Size, epochs: int, seed: int, options: list[str]) -> dict[str, float]:
    """Validation metrics of `cli.py fit` on CamVid."""
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
    network = "U-Net, ResNet-18"
    return run(argv, __doc__ or "", "segmentation", network, "smp", (ours, peer), trained, (192, 240), 8, 11)


if __name__ == "__main__":
    main()
