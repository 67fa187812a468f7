"""Semantic segmentation as small as the contracts allow: rectangles on noise, in images with padding."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from torch.utils.data import DataLoader, Dataset

from modules.contracts import IGNORE
from tests.helpers.small_task import Data, Task

CLASSES = ["ground", "red $x$", "green"]
PALETTE = [(40, 40, 40), (230, 30, 30), (30, 200, 60)]
PRIMES = (191, 193, 197, 199, 211, 223, 227, 229, 233, 239, 241, 251, 257, 263, 269, 271, 277, 179, 181, 173)
"""Labeled pixels of each image: so that no two have the same accuracy, unless all or none of them are right."""
INSIDE, PADDED, ORIGINAL = (14, 20), (16, 24), (28, 40)  # height and width


class Segmentation(Task):
    """Segmentation task that predicts a class for each pixel; `probabilities` too when asked."""

    def __init__(self, probabilities: bool = False) -> None:
        super().__init__()
        self.classes, self.probabilities = CLASSES, probabilities
        self.head = nn.Conv2d(8, len(CLASSES), 1)

    def logits(self, batch: dict[str, Any]) -> Tensor:
        return interpolate(self.head(self.backbone(batch["image"])[-1]), batch["image"].shape[-2:], mode="bilinear")

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.logits(batch), batch["mask"], ignore_index=IGNORE)

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        return {"mask": self.logits(batch).argmax(1)}

    test_step = validation_step

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, list[Tensor]]:
        scores = [
            interpolate(logits[None, :, :height, :width], size, mode="bilinear")[0].softmax(0)
            for logits, (height, width), size in zip(
                self.logits(batch), batch["inside"].tolist(), batch["size"].tolist(), strict=True
            )
        ]
        answer = {"mask": [score.argmax(0).to(torch.uint8) for score in scores]}
        return answer | ({"probabilities": scores} if self.probabilities else {})


class Rectangles(Dataset):
    """Images of one rectangle of class 1 or 2, brighter in its own channel; void below it; padding right and bottom."""

    def __init__(self, count: int, seed: int, names: list[str] | None) -> None:
        generator = torch.Generator().manual_seed(seed)
        height, width = INSIDE
        self.image = torch.randint(0, 120, (count, 3, height, width), generator=generator, dtype=torch.uint8)
        self.mask = torch.zeros(count, height, width, dtype=torch.int64)
        for i in range(count):
            top, left = torch.randint(1, 6, (2,), generator=generator).tolist()
            self.mask[i, top : top + 6, left : left + 8] = 1 + i % 2
            self.image[i, i % 2, top : top + 6, left : left + 8] += 120
            self.mask[i].view(-1)[PRIMES[i % len(PRIMES)] :] = IGNORE
        self.names = names or [f"street {i % 2}/{i:03}.jpg" for i in range(count)]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Any]:
        margins = (0, PADDED[1] - INSIDE[1], 0, PADDED[0] - INSIDE[0])
        return {
            "image": pad(self.image[index], margins),
            "mask": pad(self.mask[index], margins, value=IGNORE),
            "id": self.names[index],
            "inside": torch.tensor(INSIDE),
            "size": torch.tensor(ORIGINAL),
        }


class MaskData(Data):
    """Data module of `Rectangles`; `names` are the ids of the first test images."""

    def __init__(self, batch: int = 5, names: list[str] | None = None) -> None:
        super().__init__(batch=batch)
        self.classes, self.palette, self.names = CLASSES, PALETTE, names
        self.sizes["test"] = (len(names) if names else 20, 2)

    def plain_dataloader(self, split: str) -> DataLoader:
        count, seed = self.sizes[split]
        return self.in_order(Rectangles(count, seed, self.names if split == "test" else None))

    def train_dataloader(self) -> DataLoader:
        return self.plain_dataloader("train")
