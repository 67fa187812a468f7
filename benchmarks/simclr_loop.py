r"""SimCLR as a plain PyTorch loop: its duration and accuracy, to measure `cli.py fit` against.

    python -m benchmarks.simclr_loop --root CIFAR --batch_size 128
    python cli.py fit --config tasks/simclr.yaml --data ImageFolder --data.root CIFAR \
        --data.image_size 32 --data.augment simclr --data.val_split 0 --data.batch_size 128 \
        --model.small_images true --trainer.max_epochs 15

Only the network's parts and the loss are ours, so that both train the same thing: timm's test_resnet with a 3x3 stem
and no max-pool, projection 512 wide to 128 dimensions, NT-Xent at T 0.2, AdamW 3e-3 with warm-up over a tenth of the
steps and a cosine, autocast as `cli.py` chooses it here, channels_last. No Lightning, no Task, no data module. Images
are read before the clock starts; seconds are those of the training steps with the views that the loader's workers make
for them, without the probes.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import albumentations as A
import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, Dataset

from benchmarks.precision import autocast, automatic
from benchmarks.report import parser, publish
from modules.backbones import Timm
from modules.heads import Projection
from modules.heads.base import through
from modules.losses.contrastive import nt_xent

TEMPERATURE, RATE, DECAY, WARM_UP = 0.2, 3e-3, 1e-4, 0.1
Data = tuple[np.ndarray, Tensor]  # uint8 (N, H, W, 3), int64 (N,)


class Views(Dataset):
    """Two augmented views of each image, uint8 (H, W, 3)."""

    def __init__(self, images: np.ndarray):
        side = images.shape[1]
        self.images = images
        self.augment = A.Compose(
            [
                A.RandomResizedCrop((side, side), scale=(0.2, 1.0)),
                A.HorizontalFlip(p=0.5),
                A.ColorJitter(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.1, p=0.8),
                A.ToGray(p=0.2),
            ]
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.augment(image=self.images[index])["image"], self.augment(image=self.images[index])["image"]


def read(folder: Path, size: int, most: int) -> Data:
    """All images of CLASS/*, or `most`, as many of each class, size x size pixels."""
    classes = sorted(p for p in folder.iterdir() if p.is_dir())
    share = -(-most // len(classes)) if most else None
    files = [(path, label) for label, c in enumerate(classes) for path in sorted(c.iterdir())[:share]]
    opened = (Image.open(path).convert("RGB") for path, _ in files)
    images = np.stack([np.asarray(p if p.size == (size, size) else p.resize((size, size))) for p in opened])
    return images, torch.tensor([label for _, label in files])


class Network(nn.Module):
    """A backbone and a projection head of its pooled features."""

    def __init__(self, backbone: Timm):
        super().__init__()
        self.backbone, self.head = backbone, Projection(backbone.features, 128, hidden=512)

    def forward(self, image: Tensor) -> Tensor:
        return through(self.backbone, self.head, image)


def train(network: Network, images: np.ndarray, epochs: int, batch_size: int, workers: int) -> tuple[float, int]:
    """Train backbone and head; returns seconds and the number of images seen."""
    loader = DataLoader(
        Views(images),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        collate_fn=_stack,
        worker_init_fn=_seed,
    )
    optimizer = torch.optim.AdamW(network.parameters(), RATE, weight_decay=DECAY)
    schedule = OneCycleLR(optimizer, RATE, epochs * len(loader), pct_start=WARM_UP, cycle_momentum=False)
    network.train()
    precision = automatic()
    began = time.perf_counter()
    for epoch in range(epochs):
        total = 0.0
        for views in loader:
            with autocast(precision):
                first, second = network(network.backbone.normalize(views)).chunk(2)
            loss = nt_xent(first, second, TEMPERATURE)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        seconds = time.perf_counter() - began
        print(f"epoch {epoch + 1}/{epochs}: loss {total / len(loader):.3f}, {seconds:.0f} s", flush=True)
    return seconds, epochs * len(loader) * batch_size


@torch.inference_mode()
def embed(backbone: Timm, images: np.ndarray) -> Tensor:
    """Pooled features (N, D) in float32."""
    backbone.eval()
    parts = _tensor(images).split(256)
    return torch.cat([backbone(backbone.normalize(part))[-1].mean((-2, -1)) for part in parts])


def knn(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor, k: int = 20, temperature: float = 0.1) -> Tensor:
    """Right answers, bool (N,), of the k nearest by cosine, whose votes weigh exp(similarity / temperature)."""
    similarity, index = (normalize(queries) @ normalize(bank).T).topk(k)
    weight = (similarity / temperature).exp()
    votes = torch.zeros(len(queries), int(labels.max()) + 1).scatter_add_(1, labels[index], weight)
    return votes.argmax(1) == truth


def linear_probe(bank: Tensor, labels: Tensor, queries: Tensor, truth: Tensor, epochs: int = 100) -> Tensor:
    """Right answers, bool (N,), of a linear probe on standardized features: AdamW 1e-2, batch 256, cosine."""
    std, mean = torch.std_mean(bank, 0)
    bank, queries = ((features - mean) / (std + 1e-6) for features in (bank, queries))
    layer = nn.Linear(bank.shape[1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(layer.parameters(), 1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    for _ in range(epochs):
        for part in torch.randperm(len(bank)).split(256):
            optimizer.zero_grad()
            cross_entropy(layer(bank[part]), labels[part]).backward()
            optimizer.step()
        schedule.step()
    return layer(queries).argmax(1) == truth


def probe(backbone: Timm, training: Data, test: Data, *probes: Callable[..., Tensor]) -> list[Tensor]:
    """Right answers of each probe (kNN, linear) on frozen features; the training images are its labeled bank."""
    bank, queries = (embed(backbone, images).clone() for images, _ in (training, test))  # clones may have gradients
    return [score(bank, training[1], queries, test[1]) for score in probes]


def main(argv: list[str] | None = None) -> dict[str, Any]:
    options = parser(__doc__)
    options.add_argument("--root", type=Path, required=True, help="folder with train/CLASS and test/CLASS")
    options.add_argument("--epochs", type=int, default=15)
    options.add_argument("--batch_size", type=int, default=256)
    options.add_argument("--size", type=int, default=32, help="side of the images in pixels")
    options.add_argument("--images", type=int, default=0, help="at most so many, as many of each class; 0 takes all")
    options.add_argument("--workers", type=int, default=2, help="processes that make views")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    cv2.setNumThreads(0)
    torch.manual_seed(args.seed)
    training, test = (read(args.root / split, args.size, args.images) for split in ("train", "test"))
    if len(training[0]) < args.batch_size:
        options.error(f"--batch_size {args.batch_size} is more than the {len(training[0])} training images")
    backbone = Timm("test_resnet", small_images=True).to(memory_format=torch.channels_last)
    network = Network(backbone)
    start = _accuracies(backbone, training, test)
    seconds, seen = train(network, training[0], args.epochs, args.batch_size, args.workers)
    end = _accuracies(backbone, training, test)
    print(f"{seconds:.1f} s of training, {seen / seconds:,.0f} images/s, {automatic()}")
    for name, before, after in zip(("kNN (k 20, T 0.1)", "linear probe"), start, end, strict=True):
        print(f"{name}: {before:.1%} at the start, {after:.1%} at the end, of {len(test[0]):,} test images")
    (knn_start, probe_start), (knn_end, probe_end) = start, end
    return publish(
        "simclr_loop",
        args.json,
        seconds=seconds,
        images_per_s=seen / seconds,
        precision=automatic(),
        knn={"start": knn_start, "end": knn_end},
        linear_probe={"start": probe_start, "end": probe_end},
        settings={name: str(value) for name, value in vars(args).items() if name != "json"},
    )


def _accuracies(backbone: Timm, training: Data, test: Data) -> list[float]:
    """Test accuracy of kNN and linear probe."""
    return [right.double().mean().item() for right in probe(backbone, training, test, knn, linear_probe)]


def _stack(samples: list[tuple[np.ndarray, np.ndarray]]) -> Tensor:
    """Collate to uint8 (2 B, 3, H, W): the first views of all, then the second; channels_last in memory."""
    return _tensor(np.stack([view for views in zip(*samples, strict=True) for view in views]))


def _tensor(images: np.ndarray) -> Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2)


def _seed(worker: int) -> None:
    """Seed a worker's augmentations, which every worker would draw alike otherwise."""
    torch.utils.data.get_worker_info().dataset.augment.set_random_seed(torch.initial_seed() % 2**32)


if __name__ == "__main__":
    main()
