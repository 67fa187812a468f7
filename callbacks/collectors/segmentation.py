"""Collector for semantic segmentation: predictions, mistakes, confusion matrix; and figures of training batches."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from rich.table import Table
from torch import Tensor
from torch.nn.functional import avg_pool2d

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, summed, visible
from callbacks.figures.base import shorten_start
from callbacks.figures.class_bars import class_bars
from callbacks.figures.confusion import confusion
from callbacks.figures.overlays import DIFFERENT, Palette, differences, enlarged, legend, overlay, palette_of
from callbacks.figures.strips import strips, swatch
from callbacks.results.table import class_table
from callbacks.writers.per_class import per_class_of_pixels, write_confusion, write_per_class
from modules.contracts import IGNORE, Backbone, Batch, Prediction

SIDE = 320  # pixels: the longer side of an image that is kept, at most


class SegmentationCollector(Collector):
    """Collect predictions `{mask}` of images with a `mask`; the worst have the lowest pixel accuracy.

    Accuracy is at the original resolution where both have an `original_mask`. Ignored pixels do not count.
    """

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.matrix: Tensor | None = None  # pixels (C, C), rows true, columns predicted

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        true, predicted = batch["mask"], outputs["mask"]
        if "original_mask" in batch.keys() & outputs.keys():  # drawn as the network sees it
            pairs = zip(batch["original_mask"], outputs["original_mask"], strict=True)
            matrices = torch.cat([confusions(t[None], p[None], len(task.classes)) for t, p in pairs])
        else:
            matrices = confusions(true, predicted, len(task.classes))
        counted = matrices.sum(0)
        self.matrix = counted if self.matrix is None else self.matrix + counted
        accuracy, iou = scores(matrices)
        rows = thumbnails(batch, predicted, task.backbone)
        rows |= {"accuracy": accuracy, "iou": iou, "name": name_bytes(batch["id"]).to(true.device, non_blocking=True)}
        # nan, of an image without a label, is not below 1
        self.keep(rows, torch.where(accuracy < 1, 1 - accuracy, -torch.inf), first)

    def gather(self) -> None:
        super().gather()
        self.matrix = summed(self.matrix)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        matrix = self.matrix.cpu().numpy()
        write_per_class(folder, stage, per_class_of_pixels(matrix), task.classes)
        write_confusion(folder, stage, matrix, task.classes)

    def summarize(self, stage: str, task: LightningModule) -> Iterator[Table | str]:
        yield class_table(stage, per_class_of_pixels(self.matrix.cpu().numpy()), task.classes)

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        matrix, classes, palette = self.matrix.cpu().numpy(), task.classes, palette_of(data, task.classes)
        metrics = per_class_of_pixels(matrix)
        total, mean = int(matrix.sum()), float(np.nanmean(metrics["iou"])) if matrix.any() else float("nan")
        right = f"{100 * matrix.trace() / max(total, 1):.1f} %"
        title = f"{stage}: mIoU {100 * mean:.1f} %, {right} of {total:,} labeled pixels right"
        yield "predictions", _answers(self.sample.kept(), classes, palette, title)
        worst = self.worst.kept()
        lowest = "images of the lowest pixel accuracy, the lowest first"
        said = lowest if len(worst["iou"]) else "not one labeled pixel is wrong"
        yield "mistakes", _answers(worst, classes, palette, f"{stage}: {said}")
        yield "confusion", confusion(matrix, classes, title, shares=True)
        yield "classes", class_bars(classes, metrics["iou"], matrix.sum(1), palette, title, "IoU", "pixels")


def confusions(true: Tensor, predicted: Tensor, classes: int) -> Tensor:
    """Confusion matrix of each image, without making the host wait for the device.

    Args:
        true: whole numbers (B, H, W), 0..classes-1 and `IGNORE`.
        predicted: whole numbers (B, H, W), 0..classes-1.

    Returns:
        int64 (B, classes, classes) pixels, rows true, columns predicted.
    """
    count, labeled = len(true), true != IGNORE
    image = torch.arange(count, device=true.device).view(-1, 1, 1) * classes**2
    cell = torch.where(labeled, true.long(), 0).mul_(classes).add_(predicted).add_(image)
    counts = torch.zeros(count * classes**2, dtype=torch.int64, device=true.device)
    return counts.index_add_(0, cell.flatten(), labeled.flatten().long()).view(count, classes, classes)


def scores(matrices: Tensor) -> tuple[Tensor, Tensor]:
    """Pixel accuracy and mean IoU of each of B images, float (B,).

    The mean over the classes that the truth or the prediction shows; nan for an image without labeled pixels.
    """
    right, true, predicted = matrices.diagonal(dim1=1, dim2=2), matrices.sum(2), matrices.sum(1)
    return right.sum(1) / true.sum(1), (right / (true + predicted - right)).nanmean(1)


def thumbnails(batch: Batch, predicted: Tensor | None, backbone: Backbone) -> dict[str, Tensor]:
    """The batch small enough to keep.

    `image` uint8 (B, 3, h, w), `true`, `predicted` uint8 (B, h, w), and `inside` (B, 2): height and width of what shows
    the image. Small images keep their pixels.
    """
    image, maps = batch["image"], {"true": batch["mask"], "predicted": predicted}
    step = min(-(-max(image.shape[-2:]) // SIDE), *image.shape[-2:])
    small = visible(avg_pool2d(image.float(), step) if step > 1 else image, backbone)
    height, width = small.shape[-2:]
    sides = torch.tensor([[height, width]], device=image.device).expand(len(image), 2)
    rows = {"image": small, "inside": (batch["inside"] // step).clamp(min=1) if "inside" in batch else sides}
    for name, whole in maps.items():
        if whole is not None:  # the middle pixel of each square, since classes have no mean
            rows[name] = whole[:, step // 2 :: step, step // 2 :: step][:, :height, :width].to(torch.uint8)
    return rows


def draw_masks(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """The first images of a batch, each beside itself under its map."""
    part = {key: batch[key][:samples] for key in ("image", "mask", "id")}
    rows = {name: row.cpu() for name, row in thumbnails(part, None, backbone).items()}
    palette, shown = palette_of(data, data.classes), list(_enlarged(rows))
    pairs = [(image, overlay(image, true, palette)) for image, true in shown]
    entries = legend([true for _, true in shown], data.classes, palette)
    captions = [shorten_start(name, 30) for name in part["id"]]
    title = "First training batch as the network sees it"
    return strips(pairs, ("image", "truth"), captions, entries, title)


def _answers(rows: dict[str, Tensor], classes: list[str], palette: Palette, title: str) -> np.ndarray:
    """Images, truth, prediction and mistakes in strips; `rows` as `SegmentationCollector` keeps them."""
    shown = list(_enlarged(rows))
    panels = [
        (image, overlay(image, true, palette), overlay(image, said, palette), differences(image, true, said))
        for image, true, said in shown
    ]
    scores = zip(rows["name"].numpy(), rows["iou"].tolist(), rows["accuracy"].tolist(), strict=True)
    captions = [
        f"{shorten_start(name_text(name), 60)}\nmIoU {100 * iou:.1f} %, pixel accuracy {100 * accuracy:.1f} %"
        for name, iou, accuracy in scores
    ]
    entries = legend([drawn for _, *maps in shown for drawn in maps], classes, palette)
    entries += [("mistake", swatch(DIFFERENT))] if panels else []
    return strips(panels, ("image", "truth", "prediction", "mistakes"), captions, entries, title)


def _enlarged(rows: dict[str, Tensor]) -> Iterator[list[np.ndarray]]:
    """Image and maps of each sample, without padding, large enough to look at."""
    stacks = [arrays(rows["image"]), *(rows[name].numpy() for name in ("true", "predicted") if name in rows)]
    for (height, width), *panels in zip(rows["inside"].tolist(), *stacks, strict=True):
        yield [enlarged(panel[:height, :width]) for panel in panels]
