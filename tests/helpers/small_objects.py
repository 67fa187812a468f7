"""Detection as small as the contracts allow: rectangles that are found, in images with padding."""

from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from modules.metrics.detection import DetectionScores
from tests.helpers.small_task import Data, Task

CLASSES = ["red $x$", "green", "none"]
INSIDE, PADDED, ORIGINAL = (24, 32), (32, 32), (48, 64)  # height and width


def encoded(box: list[int], size: tuple[int, int] = ORIGINAL) -> dict[str, Any]:
    """A filled box as RLE."""
    mask = np.zeros(size, np.uint8, order="F")
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    return coco.encode(mask)


class Finder(Task):
    """Detector that finds each object with score 0.9, every other one as green, and the whole image as red with 0.4."""

    def __init__(self, masks: bool = True) -> None:
        super().__init__()
        self.classes, self.masks, self.drawing_threshold = CLASSES, masks, None
        scores = {stage: DetectionScores(len(CLASSES), masks, errors=True) for stage in ("val", "test")}
        self.scores = torch.nn.ModuleDict(scores)

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Tensor:
        return self.features(batch["image"]).square().mean()

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, list]:
        return self._evaluate(batch, "val")

    def test_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, list]:
        return self._evaluate(batch, "test")

    def on_validation_epoch_end(self) -> None:
        self._conclude("val")

    def on_test_epoch_end(self) -> None:
        self._conclude("test")

    def reports(self, stage: str) -> dict:
        return self.scores[stage].reports

    def predict_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, list]:
        height, width = ORIGINAL
        boxes = [torch.cat([one["boxes"], torch.tensor([[0.0, 0, width, height]])]) for one in batch["truth"]]
        found = {
            "boxes": boxes,
            "labels": [torch.tensor([1] * (len(b) - 1) + [0]) for b in boxes],
            "scores": [torch.tensor([0.9] * (len(b) - 1) + [0.4]) for b in boxes],
        }
        return found | ({"rle": [[encoded(box) for box in b.int().tolist()] for b in boxes]} if self.masks else {})

    def _evaluate(self, batch: dict[str, Any], stage: str) -> dict[str, list]:
        answer = self.predict_step(batch, 0)
        self.scores[stage].update(answer, batch["truth"])
        return answer

    def _conclude(self, stage: str) -> None:
        self.log_dict({f"{stage}/{name}": value for name, value in self.scores[stage].compute().items()})
        self.scores[stage].reset()


class Boxes(Dataset):
    """Images of `i % 3` rectangles of class 0 and 1 by turns; the originals were twice as large."""

    def __init__(self, count: int, seed: int, names: list[str] | None) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.image = torch.randint(40, 120, (count, 3, *PADDED), generator=generator, dtype=torch.uint8)
        self.image[:, :, INSIDE[0] :] = 0
        self.corners = torch.randint(0, 9, (count, 2, 2), generator=generator) + torch.tensor([[0, 0], [16, 0]])
        self.names = names or [f"street {i % 2}/{i:03}.jpg" for i in range(count)]

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, index: int) -> dict[str, Any]:
        corners = self.corners[index, : index % 3]
        boxes, labels = torch.cat([corners, corners + 6], 1), torch.tensor([0, 1])[: index % 3]
        whole = 2 * boxes
        truth = {"boxes": whole.float(), "labels": labels, "crowd": labels > 9, "area": torch.full(labels.shape, 144.0)}
        return {
            "image": self.image[index],
            "boxes": boxes.float(),
            "labels": labels,
            "masks": torch.stack([torch.zeros(PADDED), *(_filled(box) for box in boxes.tolist())])[1:].byte(),
            "truth": truth | {"rle": [encoded(box) for box in whole.tolist()]},
            "id": self.names[index],
            "inside": torch.tensor(INSIDE),
            "size": torch.tensor(ORIGINAL),
        }


def _filled(box: list[int]) -> Tensor:
    mask = torch.zeros(PADDED)
    left, top, right, bottom = box
    mask[top:bottom, left:right] = 1
    return mask


def collate(samples: list[dict[str, Any]]) -> dict[str, Any]:
    batch = {key: [sample[key] for sample in samples] for key in samples[0]}
    return batch | {key: torch.stack(batch[key]) for key in ("image", "inside", "size")}


class ObjectData(Data):
    """Data module of `Boxes`; `names` are the ids of the first test images."""

    category_ids, image_ids = None, None

    def __init__(self, batch: int = 5, names: list[str] | None = None) -> None:
        super().__init__(batch=batch)
        self.classes, self.names = CLASSES, names
        self.sizes["test"] = (len(names) if names else 20, 2)

    def plain_dataloader(self, split: str) -> DataLoader:
        (count, seed), names = self.sizes[split], self.names if split == "test" else None
        return self.in_order(Boxes(count, seed, names), collate)

    def train_dataloader(self) -> DataLoader:
        return self.plain_dataloader("train")
