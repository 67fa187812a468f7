"""Collector for style transfer: images in every style, and mixtures of two styles."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, visible
from callbacks.figures.base import shorten_start
from callbacks.figures.generated import tiles
from callbacks.figures.grids import fitted
from callbacks.figures.strips import strips
from modules.contracts import Batch, Prediction
from modules.contracts.pixels import to_uint8

STEPS, ROWS = 5, 4  # mixtures from one style to the next, ends included, and images that show them
SIDE = 128  # pixels of a panel


class StylizedCollector(Collector):
    """Collect images of style transfer; the worst have the largest style loss."""

    def update(self, batch: Batch, outputs: Prediction, task: Any, first: int) -> None:
        image, loss = visible(batch["image"], task.backbone), outputs["style_loss"]
        rows = {"image": image, "loss": loss, "name": name_bytes(batch["id"]).to(loss.device, non_blocking=True)}
        if "inside" in batch:
            rows["inside"] = batch["inside"]
        self.keep(rows, loss, first)

    def draw(self, stage: str, task: Any, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        shares = torch.eye(len(task.style_names))
        yield "styles", in_styles(self.sample.kept(), task, shares, f"{stage}: images in each style")
        yield "worst_styles", in_styles(self.worst.kept(), task, shares, f"{stage}: images of the largest style loss")
        if len(shares) > 1:
            place = torch.linspace(0, 1, STEPS)[:, None]
            mixed = torch.cat([torch.lerp(one, other, place) for one, other in pairwise(shares)])
            made = [painted(image, task, mixed) for image in whole(self.sample.kept())[:ROWS]]
            yield "style_mixtures", tiles([panel for row in made for panel in row], len(mixed))


def in_styles(rows: dict[str, Tensor], task: Any, shares: Tensor, title: str) -> np.ndarray:
    """Strips of an image and the same in each style, below the styles themselves."""
    thumbnails = [fitted(image, SIDE) for image in arrays(task.thumbnails)]
    blank = np.full((SIDE, SIDE, 3), 255, np.uint8)
    lines = [[blank, *thumbnails], *([fitted(image, SIDE), *painted(image, task, shares)] for image in whole(rows))]
    named = zip(rows["loss"].tolist(), rows["name"].numpy(), strict=True)
    captions = ["styles\n", *(f"style loss {loss:.3g}\n{shorten_start(name_text(name), 40)}" for loss, name in named)]
    return strips(lines, ["image", *task.style_names], captions, [], title)


def whole(rows: dict[str, Tensor]) -> list[np.ndarray]:
    """Kept images without padding, uint8 (h, w, 3)."""
    images = arrays(rows["image"])
    sizes = rows["inside"].tolist() if "inside" in rows else [image.shape[:2] for image in images]
    return [image[:height, :width] for image, (height, width) in zip(images, sizes, strict=True)]


@torch.no_grad()
def painted(image: np.ndarray, task: Any, shares: Tensor) -> list[np.ndarray]:
    """An image in each mixture of the styles (N, S), in squares."""
    training = task.training
    task.eval()
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].to(task.device)
    seen = task.backbone.normalize(pixels).to(task.dtype)
    made = [task(seen, share[None].to(task.device)) for share in shares]
    task.train(training)
    return [fitted(one, SIDE) for one in arrays(to_uint8(torch.cat(made)))]
