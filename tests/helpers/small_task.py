"""A task and a data module as small as the contracts allow."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import lightning.pytorch as L
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from modules import contracts

CLASSES = ["circle", "square", "triangle"]


class Backbone(contracts.Backbone):
    """Two convolutions with the input statistics of ImageNet; features (B, 8)."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]))
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1))

    def forward(self, image: Tensor) -> list[Tensor]:
        return [self.layers(image)]


class Task(L.LightningModule):
    pretraining = False
    required_keys = ("image", "label")

    def __init__(self, lr: float = 0.01, spoil: int = -1) -> None:
        super().__init__()
        self.lr = lr
        self.spoil = spoil  # batch whose loss becomes nan
        self.classes = CLASSES
        self.backbone = Backbone()
        self.head = nn.Linear(8, len(CLASSES))

    def on_after_batch_transfer(self, batch: dict[str, Any], dataloader_idx: int) -> dict[str, Any]:
        inputs = {"image": self.backbone.normalize(batch["image"])} if "image" in batch else {}
        if "views" in batch:
            inputs["views"] = [self.backbone.normalize(view) for view in batch["views"]]
        return batch | inputs

    def features(self, image: Tensor) -> Tensor:
        return self.backbone(image)[-1].mean((2, 3))

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> Any:
        loss = nn.functional.cross_entropy(self.head(self.features(batch["image"])), batch["label"])
        return loss * torch.nan if batch_idx == self.spoil else loss

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        scores = self.head(self.features(batch["image"])).softmax(dim=1)
        return {"label": scores.argmax(dim=1), "scores": scores}

    test_step = predict_step = validation_step

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.AdamW(self.parameters(), lr=self.lr)


class Pretraining(Task):
    """Pretraining task that predicts features; `embeddings` of its training step are set from outside."""

    pretraining = True

    def __init__(self, embeddings: Callable[[Tensor], Tensor] = nn.Identity()) -> None:
        super().__init__()
        self.classes = None
        self.embeddings = embeddings

    def training_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        features = torch.cat([self.features(view) for view in batch["views"]])
        return {"loss": features.square().mean(), "embeddings": self.embeddings(features.detach())}

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> dict[str, Tensor]:
        return {"features": self.features(batch["image"])}

    test_step = predict_step = validation_step


class Samples(Dataset):
    """Images whose brightest channel is their class: easy, so that a probe of any features beats chance."""

    def __init__(self, count: int, seed: int, size: int = 16, views: bool = False, labeled: bool = True) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.label = torch.arange(count) % 3
        noise = torch.randint(0, 160, (count, 3, size, size), generator=generator)
        self.image = (noise + 95 * nn.functional.one_hot(self.label, 3)[:, :, None, None]).to(torch.uint8)
        self.views, self.labeled = views, labeled

    def __len__(self) -> int:
        return len(self.label)

    def __getitem__(self, index: int) -> dict[str, Any]:
        image, label = self.image[index], int(self.label[index])
        sample = {"views": [image, image.flip(2)]} if self.views else {"image": image}
        return sample | {"id": f"{label}/{index:03}.png"} | ({"label": label} if self.labeled else {})


class InOrder(DistributedSampler):
    """Sampler of the given indices in order; a DistributedSampler by name, so that Lightning leaves it alone."""

    def __init__(self, chosen: Sequence[int]) -> None:
        self.chosen = chosen

    def __iter__(self) -> Iterator[int]:
        return iter(self.chosen)

    def __len__(self) -> int:
        return len(self.chosen)

    def set_epoch(self, epoch: int) -> None:
        """Do nothing: every epoch has the same order."""


class Data(L.LightningDataModule):
    noun = "images"

    def __init__(self, count: int = 48, batch: int = 8, views: bool = False, labeled: bool = True) -> None:
        super().__init__()
        self.count, self.batch, self.views, self.labeled = count, batch, views, labeled
        self.batch_size = batch
        self.classes = CLASSES if labeled else None
        self.sizes = {"train": (count, 0), "val": (21, 1), "test": (20, 2)}  # samples, seed

    def plain_dataloader(self, split: str) -> DataLoader | None:
        count, seed = self.sizes[split]
        return self.in_order(Samples(count, seed, labeled=self.labeled))

    def in_order(self, samples: Dataset, collate: Callable | None = None) -> DataLoader:
        """A loader in order; devices take whole batches in turn, as of data modules."""
        rank, world = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        turns = [i for i in range(len(samples)) if i // self.batch % world == rank]
        return DataLoader(samples, batch_size=self.batch, sampler=InOrder(turns), collate_fn=collate)

    def train_dataloader(self) -> DataLoader:
        return DataLoader(Samples(self.count, 0, views=self.views), batch_size=self.batch, shuffle=True)

    def val_dataloader(self) -> DataLoader:
        return self.plain_dataloader("val")

    def test_dataloader(self) -> DataLoader:
        return self.plain_dataloader("test")

    predict_dataloader = test_dataloader


class MemoryLogger(L.loggers.logger.DummyLogger):
    """Logger that records (step, metrics)."""

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.rows.append((step, dict(metrics)))

    def values(self, name: str) -> list[float]:
        return [metrics[name] for _, metrics in self.rows if name in metrics]
