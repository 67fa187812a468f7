"""Collector for panoptic segmentation: segments beside the truth, mistakes, metrics of each class."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from rich.table import Table
from torch import Tensor
from torch.nn.functional import interpolate

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, summed, visible
from callbacks.collectors.segmentation import SIDE
from callbacks.figures.base import shorten_start
from callbacks.figures.class_bars import class_bars
from callbacks.figures.objects import object_palette
from callbacks.figures.overlays import class_legend, enlarged
from callbacks.figures.segments import MAX_SEGMENTS, draw_segments
from callbacks.figures.strips import Entry, strips
from callbacks.results.table import class_table
from callbacks.writers.per_class import write_per_class
from modules.contracts import Backbone, Batch, Prediction
from modules.metrics.panoptic import per_class


class PanopticCollector(Collector):
    """Collect predictions `{segments, labels, scores}` with `matches` of images with `segments` and a `truth`.

    The worst images have the lowest quality: summed IoU of matches over all segments, those without match half.
    """

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.counts: Tensor | None = None  # float64 (4, C), as `count_matches` gives them

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        image, matches = batch["image"], outputs["matches"]
        self.counts = matches.sum(0) if self.counts is None else self.counts + matches.sum(0)
        right, iou, wrong, missed = matches.sum(2).unbind(1)
        quality = (iou / (right + (wrong + missed) / 2)).nan_to_num(1.0).float()
        counts = torch.stack([right, wrong, missed], 1).long()
        factor = min(1.0, SIDE / max(image.shape[-2:]))
        small = interpolate(image.float(), scale_factor=factor, mode="area") if factor < 1 else image
        parts, size = (batch["inside"] * factor).long().clamp(min=1), tuple(small.shape[-2:])
        true = interpolate(batch["segments"][:, None].float(), size, mode="nearest-exact")[:, 0]
        rows = {
            "image": visible(small, cast(Backbone, task.backbone)),
            "inside": parts,
            "true": true.clamp(max=MAX_SEGMENTS + 1).to(torch.uint8),
            "found": _thumbnails(outputs["segments"], parts.tolist(), size),
            "true_labels": _padded(batch["labels"]),
            "found_labels": _padded(outputs["labels"]),
            "counts": counts.to(image.device),
            "quality": quality.to(image.device),
            "name": name_bytes(batch["id"]).to(image.device, non_blocking=True),
        }
        self.keep(rows, torch.where(rows["quality"] < 1, 1 - rows["quality"], -torch.inf), first)

    def gather(self) -> None:
        super().gather()
        self.counts = summed(self.counts)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        write_per_class(folder, stage, self._per_class(), cast(list[str], task.classes))

    def summarize(self, stage: str, task: LightningModule) -> Iterator[Table | str]:
        yield class_table(stage, self._per_class(), cast(list[str], task.classes))

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        classes, metrics = cast(list[str], task.classes), self._per_class()
        mean = f"PQ {100 * np.nanmean(metrics['pq']):.1f} %" if metrics["segments"].any() else "no segment"
        yield "predictions", _answers(self.sample.kept(), classes, f"{stage}: {mean}")
        worst = self.worst.kept()
        yield "mistakes", _answers(worst, classes, f"{stage}: images of the lowest quality, the lowest first")
        title = f"{stage}: panoptic quality of each class, {mean}"
        colors = object_palette(len(classes))
        yield "classes", class_bars(classes, metrics["pq"], metrics["segments"], colors, title, "PQ", "segments")

    def _per_class(self) -> dict[str, np.ndarray]:
        return per_class(cast(Tensor, self.counts).cpu().numpy())


def draw_panoptic(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """The first images of a training batch, each beside itself under its segments."""
    classes: list[str] = cast(Any, data).classes
    palette, pairs, shown = object_palette(len(classes)), [], []
    for i, image in enumerate(arrays(visible(batch["image"][:samples], backbone))):
        labels = batch["labels"][i].tolist()
        large = enlarged(image)
        pairs.append([large, draw_segments(large, enlarged(batch["segments"][i].cpu().numpy()), labels, palette)])
        shown += labels
    captions = [shorten_start(name, 30) for name in batch["id"][:samples]]
    entries = _entries(shown, classes)
    return strips(pairs, ("image", "truth"), captions, entries, "First training batch as the network sees it")


def _answers(rows: dict[str, Tensor], classes: Sequence[str], title: str) -> np.ndarray:
    """Images, truth and prediction in strips; `rows` as `PanopticCollector` keeps them."""
    palette, panels, captions, shown = object_palette(len(classes)), [], [], []
    for i, image in enumerate(arrays(rows["image"])):
        height, width = rows["inside"][i].tolist()
        large = enlarged(image[:height, :width])
        panel = [large]
        for name in ("true", "found"):
            labels = [label for label in rows[f"{name}_labels"][i].tolist() if label >= 0]
            segments = enlarged(rows[name][i, :height, :width].numpy())
            panel.append(draw_segments(large, segments, labels, palette))
            shown += labels
        panels.append(panel)
        right, wrong, missed = rows["counts"][i].tolist()
        name, quality = name_text(rows["name"][i].numpy()), 100 * rows["quality"][i].item()
        said = f"quality {quality:.0f} %: {right} right, {wrong} wrong, {missed} missed"
        captions.append(f"{shorten_start(name, 60)}\n{said}")
    return strips(panels, ("image", "truth", "prediction"), captions, _entries(shown, classes), title)


def _entries(labels: Sequence[int], classes: Sequence[str]) -> list[Entry]:
    return class_legend(np.bincount(labels, minlength=len(classes)), classes, object_palette(len(classes)))


def _thumbnails(segments: Sequence[Tensor], parts: list[list[int]], size: Sequence[int]) -> Tensor:
    """Maps of segments, resized to the part of a small image that shows it, uint8 (B, *size)."""
    drawn = torch.zeros((len(segments), *size), dtype=torch.uint8, device=segments[0].device)
    for room, one, (height, width) in zip(drawn, segments, parts, strict=True):
        small = interpolate(one[None, None].float(), (height, width), mode="nearest-exact")[0, 0]
        room[:height, :width] = small.clamp(max=MAX_SEGMENTS + 1).to(torch.uint8)
    return drawn


def _padded(labels: Sequence[Tensor]) -> Tensor:
    """Classes of the segments of B images, int64 (B, MAX_SEGMENTS), -1 behind the last."""
    rows = labels[0].new_full((len(labels), MAX_SEGMENTS), -1)
    for row, one in zip(rows, labels, strict=True):
        row[: len(one)] = one[:MAX_SEGMENTS]
    return rows
