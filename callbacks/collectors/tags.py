"""Collector for images with several classes each: answers, mistakes, metrics of each class, co-occurrence."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from rich.table import Table
from torch import Tensor

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, summed, visible
from callbacks.collectors.classification import draw_views
from callbacks.figures.base import PLAIN, RIGHT, WRONG, shorten, shorten_start
from callbacks.figures.cooccurrence import cooccurrence
from callbacks.figures.grids import grid
from callbacks.results.table import class_table
from callbacks.writers.per_class import rates, write_per_class
from callbacks.writers.tags import named
from modules.contracts import Backbone, Batch, Prediction

MOST = 3  # lines of a caption for each kind of answer


class TagCollector(Collector):
    """Collect predictions `{tags, scores}` of images with `tags`; the worst have the surest wrong class."""

    def __init__(self, keep: int) -> None:
        super().__init__(keep)
        self.counts: Tensor | None = None  # (3, C, C): images with both classes, true, found, and true and found

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        true, found, scores = batch["tags"].float(), outputs["tags"].float(), outputs["scores"].float()
        both = torch.stack([one.T @ other for one, other in ((true, true), (found, found), (true, found))])
        self.counts = both if self.counts is None else self.counts + both
        sure = torch.where(true > 0, 1 - scores, scores)  # of the wrong answer
        badness = torch.where(true != found, sure, -torch.inf).amax(1)
        rows = {"image": batch["image"], "true": true.bool(), "found": found.bool(), "scores": scores}
        rows["name"] = name_bytes(batch["id"]).to(true.device, non_blocking=True)
        self.keep(rows, badness, first)

    def gather(self) -> None:
        super().gather()
        self.counts = summed(self.counts)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        write_per_class(folder, stage, self.per_class(task), cast(list[str], task.classes))

    def summarize(self, stage: str, task: LightningModule) -> Iterator[Table | str]:
        yield class_table(stage, self.per_class(task), cast(list[str], task.classes))

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        classes = cast(list[str], task.classes)
        true, found, _ = self._counts()
        yield "predictions", self._answers(self.sample.kept(), task, f"{stage}: ✓ right, + wrong, - missed classes")
        mistakes = self.worst.kept()
        title = f"{stage}: {len(mistakes['true'])} images with the surest wrong classes (+ wrong, - missed)"
        yield "mistakes", self._answers(mistakes, task, title)
        yield "cooccurrence", cooccurrence(true, found, classes, f"{stage}: classes that occur together, in percent")

    def per_class(self, task: LightningModule) -> dict[str, np.ndarray]:
        """Metrics of each class (C,): `count` images that have it, `precision`, `recall`, `f1`, and its `threshold`."""
        true, found, right = (one.diagonal() for one in self._counts())
        return rates(right, true, found) | {"threshold": cast(Tensor, task.thresholds).double().numpy()}

    def _counts(self) -> np.ndarray:
        counts = cast(Tensor, self.counts)
        return counts.round().long().cpu().numpy()

    def _answers(self, rows: dict[str, Tensor], task: LightningModule, title: str) -> np.ndarray:
        """Grid of images with their right, wrong and missed classes."""
        classes = cast(list[str], task.classes)
        parts = zip(*(rows[name].tolist() for name in ("true", "found", "scores")), rows["name"].numpy(), strict=True)
        captions = [_caption(true, found, scores, classes, name_text(name)) for true, found, scores, name in parts]
        colors = [RIGHT if one else WRONG for one in (rows["true"] == rows["found"]).all(1).tolist()]
        backbone = cast(Backbone, task.backbone)
        return grid(arrays(visible(rows["image"].to(backbone.mean.device), backbone)), captions, title, colors)


def draw_tagged(batch: Batch, samples: int, backbone: Backbone | None, data: LightningDataModule) -> np.ndarray | None:
    """The first images of a batch with their classes; null where `draw_views` gives none."""
    if "image" not in batch or batch["tags"].is_floating_point():
        return draw_views(batch, samples, backbone, data)
    images = batch["image"][:samples]
    shown = arrays(visible(images, backbone)) if backbone is not None else arrays(images)
    tags = [named(row, cast(Any, data).classes) for row in batch["tags"][: len(shown)].tolist()]
    captions = ["\n".join(_some([shorten(name) for name in names])) for names in tags]
    return grid(shown, captions, "First training batch after augmentation", [PLAIN] * len(shown))


def _caption(true: list[bool], found: list[bool], scores: list[float], classes: list[str], name: str) -> str:
    """Right, wrong and missed classes with their probabilities, and the name of the image."""
    lines = []
    for mark, wanted in (("✓", (True, True)), ("+", (False, True)), ("-", (True, False))):
        these = [i for i, pair in enumerate(zip(true, found, strict=True)) if pair == wanted]
        lines += _some([f"{mark} {shorten(classes[i], 14)} {100 * scores[i]:.0f} %" for i in these])
    return "\n".join([*(lines or ["no class"]), shorten_start(name, 21)])


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= MOST else [*lines[: MOST - 1], f"and {len(lines) - MOST + 1} more"]
