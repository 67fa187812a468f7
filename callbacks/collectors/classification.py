"""Collector for image classification: predictions, mistakes and confusion matrix; and figures of training batches."""

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from rich.table import Table
from torch import Tensor

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, rgb, summed, visible
from callbacks.collectors.suspects import Suspects
from callbacks.figures.base import PLAIN, RIGHT, WRONG, shorten, shorten_start
from callbacks.figures.confusion import confusion, draw_confused
from callbacks.figures.grids import grid, side_by_side
from callbacks.results.table import class_table
from callbacks.writers.per_class import per_class, write_confusion, write_per_class
from modules.contracts import Backbone, Batch, Prediction


class ClassificationCollector(Collector):
    """Collect predictions `{label, scores}` of images with a `label`; the worst are the most confident mistakes."""

    noun = "images"
    paired = 20  # from this many classes on, the most confused pairs are drawn too, as the matrix gets hard to read

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.suspects = Suspects(keep)
        self.matrix: Tensor | None = None  # counts (C * C,), by true class, then by predicted one

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        true, predicted, scores = batch["label"], outputs["label"], outputs["scores"]
        classes = scores.shape[1]
        if self.matrix is None:
            self.matrix = true.new_zeros(classes**2)
        # Not bincount: it would make the host wait for the device.
        self.matrix.index_add_(0, true * classes + predicted, torch.ones_like(true))
        confidence = scores.float().gather(1, predicted[:, None]).squeeze(1)
        rows = {**self.inputs(batch, task), "true": true, "predicted": predicted, "confidence": confidence}
        rows["name"] = name_bytes(batch["id"]).to(true.device, non_blocking=True)
        self.keep(rows, torch.where(predicted != true, confidence, -torch.inf), first)
        self.suspects.update(batch["id"], scores, rows, first)

    def inputs(self, batch: Batch, task: LightningModule) -> dict[str, Tensor]:
        """Tensors of the B samples to keep for figures, by name."""
        return {"image": batch["image"]}

    def gather(self) -> None:
        super().gather()
        self.suspects.gather()
        self.matrix = summed(self.matrix)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        write_per_class(folder, stage, per_class(self.counts()), task.classes)
        write_confusion(folder, stage, self.counts(), task.classes)
        self.suspects.write(folder / f"{stage}_suspects.csv", cast(list[str], task.classes))

    def summarize(self, stage: str, task: LightningModule) -> Iterator[Table | str]:
        yield class_table(stage, per_class(self.counts()), task.classes)
        if errors := self.suspects.count:
            yield (
                f"probable label errors: {errors:,} of {len(self.suspects.ids):,} {stage} {self.noun}, the least "
                f"credible first in predictions/{stage}_suspects.csv"
            )

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        matrix = self.counts()
        right, total = int(matrix.trace()), int(matrix.sum())
        title = f"{stage}: {right:,} of {total:,} right ({100 * right / total:.1f} %)"
        yield "predictions", self.answers(self.sample.kept(), task, title)
        yield "confusion", confusion(matrix, task.classes, title)
        if len(task.classes) >= self.paired:
            yield "confused", draw_confused(matrix, task.classes, f"{stage}: the pairs most confused", self.noun)
        mistakes = self.worst.kept()
        title = f"{stage}: the {len(mistakes['true'])} most confident of {total - right:,} mistakes"
        yield "mistakes", self.answers(mistakes, task, title)
        if errors := self.suspects.count:
            suspects = self.suspects.kept()
            title = f"{stage}: {len(suspects['true'])} of {errors:,} probable label errors, least credible first"
            yield "suspects", self.answers(suspects, task, title, suspected=True)

    def answers(
        self, rows: dict[str, Tensor], task: LightningModule, title: str, suspected: bool = False
    ) -> np.ndarray:
        """Grid of images with true and predicted class; `rows` as kept by `ClassificationCollector`.

        If labels are `suspected`, the predicted class is the suggested one.
        """
        captions = self.captions(rows, cast(list[str], task.classes), 14, 21, suspected)
        right = (rows["true"] == rows["predicted"]).tolist()
        colors = [PLAIN if suspected else RIGHT if one else WRONG for one in right]
        backbone = task.backbone
        images = arrays(visible(rows["image"].to(backbone.mean.device), backbone))
        return grid(images, captions, title, colors)

    def captions(
        self, rows: dict[str, Tensor], classes: list[str], width: int, name_width: int, suspected: bool = False
    ) -> list[str]:
        """Captions of three lines: predicted class with its probability, true class, name; at most so wide."""
        columns = (rows[name].tolist() for name in ("true", "predicted", "confidence"))
        captions = []
        for *answer, name in zip(*columns, rows["name"].numpy(), strict=True):
            true, predicted, confidence = answer
            given, said = (shorten(classes[label], width) for label in (true, predicted))
            mark = "→" if suspected else "✓" if true == predicted else "✗"
            lines = [f"{mark} {said} {100 * confidence:.0f} %", f"{'given' if suspected else 'true'}: {given}"]
            captions.append(
                "\n".join([*(reversed(lines) if suspected else lines), shorten_start(name_text(name), name_width)])
            )
        return captions

    def counts(self) -> np.ndarray:
        """Confusion matrix int64 (C, C), rows true, columns predicted."""
        side = round(len(self.matrix) ** 0.5)
        return self.matrix.view(side, side).cpu().numpy()


def draw_views(batch: Batch, samples: int, backbone: Backbone | None, data: LightningDataModule) -> np.ndarray | None:
    """The first images of a batch, all views of one side by side, with their class where it is known.

    Null for clips and images of several sizes.
    """
    views = [*([batch["image"]] if "image" in batch else []), *batch.get("views", [])] or [None]
    if not all(isinstance(view, Tensor) and view.ndim == 4 for view in views):
        return None
    views = [view[:samples] for view in views]
    shown = [arrays(rgb(view) if view.dtype == torch.uint8 else visible(view, backbone)) for view in views]
    images = [side_by_side(views_of_one) for views_of_one in zip(*shown, strict=True)]
    labels = batch["label"][:samples].cpu() if "label" in batch else None
    captions = [""] * len(images) if labels is None else [_caption(label, data.classes) for label in labels]
    title = "First training batch after augmentation"
    if len(views) > 1:
        title += f": {len(views)} views of each image"
    return grid(images, captions, title)


def _caption(label: Tensor, classes: list[str]) -> str:
    """The class name; for mixed labels (MixUp, CutMix) the two largest shares."""
    if label.ndim == 0:
        return shorten(classes[label])
    shares, indices = label.topk(min(2, len(label)))
    parts = zip(shares.tolist(), indices.tolist(), strict=True)
    return "\n".join(f"{shorten(classes[i], 14)} {100 * share:.0f} %" for share, i in parts if share > 0.005)
