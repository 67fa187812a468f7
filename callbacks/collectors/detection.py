"""Collector for detection: predictions beside the truth, mistakes, precision-recall curves, kinds of errors.

Draws training batches as well.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from rich.table import Table
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_iou

from callbacks.collectors.base import Collector, arrays, name_bytes, name_text, visible
from callbacks.collectors.segmentation import SIDE
from callbacks.figures.base import shorten_start
from callbacks.figures.class_bars import class_bars
from callbacks.figures.objects import draw_objects, further_palette, mostly_small, object_palette, stacked
from callbacks.figures.overlays import class_legend, enlarged
from callbacks.figures.precision_recall import precision_recall
from callbacks.figures.skeletons import edges_of, keypoint_legend, names_of
from callbacks.figures.strips import Entry, strips
from callbacks.results.table import class_table
from callbacks.writers.detection_errors import error_bars, error_lines, write_errors
from callbacks.writers.per_class import MAIN_METRICS, per_class_of_objects, write_per_class
from modules.contracts import Backbone, Batch, Prediction
from modules.metrics.detection import MEASURE

MAX_OBJECTS = 200  # objects of an image that are kept to be drawn; of predictions those with the highest scores
OVERLAP = 0.5  # lowest IoU of a detection with its object


class Panel(NamedTuple):
    """Arguments of `draw_objects` without the palette."""

    image: np.ndarray
    boxes: np.ndarray
    labels: Sequence[int]
    tags: Sequence[str]
    shown: np.ndarray | None
    points: np.ndarray | None = None


class DetectionCollector(Collector):
    """Collect predictions `{boxes, scores, labels}` of images with a `truth`; the worst have the most errors.

    Errors are missed objects and false detections at an IoU of 0.5, averaged over all score thresholds, since the
    threshold for drawing (best F1) is known only after the last batch.
    """

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, first: int) -> None:
        image, inside = batch["image"], batch["inside"]
        factor = min(1.0, SIDE / max(image.shape[-2:]))
        small = interpolate(image.float(), scale_factor=factor, mode="area") if factor < 1 else image
        parts = (inside * factor).long().clamp(min=1)
        scale = (parts / batch["size"]).float().flip(1).repeat(1, 2)  # (B, 4), from the original's pixels
        columns = zip(*(outputs[key] for key in ("boxes", "labels", "scores")), strict=True)
        said = [_rows(*one) for one in columns]
        truths = ([one[key].to(image.device) for key in ("boxes", "labels", "crowd")] for one in batch["truth"])
        true = [_rows(*one) for one in truths]
        total = torch.stack([expected_mistakes(*one) for one in zip(said, true, strict=True)])
        ties = self.spread(total, first) / 2**33  # of equally bad images the same are kept by any processes
        badness = torch.where(total > 0, total + ties, -torch.inf)
        rows = {
            "image": visible(small, task.backbone),
            "inside": parts,
            "true": torch.stack([_kept(one, s) for one, s in zip(true, scale, strict=True)]),
            "found": torch.stack([_kept(one, s) for one, s in zip(said, scale, strict=True)]),
            "name": name_bytes(batch["id"]).to(image.device, non_blocking=True),
        }
        if "rle" in outputs:
            wanted = self.wanted(badness, first).tolist()  # decoding the masks of every image would take long
            for name, masks in (("true", [one["rle"] for one in batch["truth"]]), ("found", outputs["rle"])):
                rows[f"{name}_masks"] = _thumbnails(masks, wanted, parts.tolist(), small.shape[-2:]).to(image.device)
        if "keypoints" in outputs:
            true_points = [one["keypoints"] for one in batch["truth"]]
            for name, points in (("true", true_points), ("found", outputs["keypoints"])):
                kept = [_kept_points(one.to(image.device), s) for one, s in zip(points, scale, strict=True)]
                rows[f"{name}_points"] = torch.stack(kept)
        self.keep(rows, badness, first)

    def write(self, folder: Path, stage: str, task: LightningModule) -> None:
        reports = task.reports(stage)
        write_per_class(folder, stage, per_class_of_objects(reports), task.classes)
        write_errors(folder, stage, reports)

    def summarize(self, stage: str, task: LightningModule) -> Iterator[Table | str]:
        reports = task.reports(stage)
        yield class_table(stage, per_class_of_objects(reports), task.classes)
        yield from error_lines(stage, reports)

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        classes, palette, reports = task.classes, object_palette(len(task.classes)), task.reports(stage)
        kind, report = [*reports.items()][-1]  # masks or keypoints, if there are any
        sure = report.threshold
        title = f"{stage}: what is there, and detections of score {sure:.2f} and more ({report.choice})"
        yield "predictions", _answers(surely(self.sample.kept(), sure), task, title)
        title = f"{stage}: images with the most objects missed and detections of nothing, score {sure:.2f} and more"
        worst = surely(self.worst.kept(), sure)
        wrong = worst["wrong"].sum(1)
        bad = wrong.argsort(descending=True, stable=True)[: int(wrong.count_nonzero())]
        yield "mistakes", _answers({name: row[bad] for name, row in worst.items()}, task, title)
        metrics = per_class_of_objects(reports)
        main = next(name for name in MAIN_METRICS if name in metrics)
        title = f"{stage}: precision over recall, as COCO counts"
        yield "curves", precision_recall(reports, classes, palette, title)
        values, counts = metrics[main], metrics["objects"]
        title = f"{stage}: {MAIN_METRICS[main]}, {MEASURE[kind]} .50:.05:.95"
        yield "classes", class_bars(classes, values, counts, palette, title, MAIN_METRICS[main], "objects")
        yield "errors", error_bars(reports, f"{stage}: errors of detections, after TIDE")


def mistakes(found: Tensor, true: Tensor) -> Tensor:
    """Numbers of missed objects and of false detections of one image, int64 (2,).

    Args:
        found: (N, 6): boxes xyxy, class and score.
        true: (M, 6): boxes xyxy, class, and 1 for crowds, which never count as missed.
    """
    hits = _hits(found, true)
    return torch.stack([(~hits.any(0) & (true[:, 5] == 0)).sum(), (~hits.any(1)).sum()])


def expected_mistakes(found: Tensor, true: Tensor) -> Tensor:
    """Sum of both `mistakes`, averaged over all score thresholds in 0..1: a scalar."""
    hits, scores = _hits(found, true), found[:, 5]
    best = (hits * scores[:, None]).amax(0) if len(found) else torch.zeros_like(true[:, 5])
    return ((1 - best) * (true[:, 5] == 0)).sum() + (scores * ~hits.any(1)).sum()


def _hits(found: Tensor, true: Tensor) -> Tensor:
    """Matches of detections and objects of the same class, bool (N, M)."""
    return (box_iou(found[:, :4], true[:, :4]) >= OVERLAP) & (found[:, None, 4] == true[:, 4])


def draw_boxes(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """The first images of a training batch with their boxes, and masks or keypoints where there are some."""
    panels, shown_labels = [], []
    for i, image in enumerate(arrays(visible(batch["image"][:samples], backbone))):
        labels, shown = batch["labels"][i].tolist(), None
        if "masks" in batch and labels:
            masks = batch["masks"][i] > 0
            shown = torch.where(masks.any(0), masks.int().argmax(0) + 1, 0).cpu().numpy()
        points = batch["keypoints"][i].cpu().numpy() if "keypoints" in batch else None
        panels.append(_panel(image, batch["boxes"][i].cpu().numpy(), labels, shown=shown, points=points))
        shown_labels += labels
    captions = [shorten_start(name, 24) for name in batch["id"][:samples]]
    rows = [[drawn] for drawn in _drawn(panels, data)]
    return strips(rows, ("",), captions, _entries(shown_labels, data), "First training batch")


def surely(rows: dict[str, Tensor], threshold: float) -> dict[str, Tensor]:
    """Drop detections below a score from kept rows, and add `wrong`: `mistakes` (B, 2)."""
    found, true = rows["found"].clone(), rows["true"]
    found[found[..., 5] < threshold] = -1
    pairs = zip(found, true, strict=True)
    wrong = [mistakes(*(each[each[:, 4] >= 0] for each in pair)) for pair in pairs]
    rows = rows | {"found": found, "wrong": torch.stack(wrong) if wrong else torch.zeros(0, 2, dtype=torch.int64)}
    if "found_masks" in rows:  # detections lie in the order of their scores, the highest on top
        last = (found[..., 4] >= 0).sum(1)[:, None, None]
        rows["found_masks"] = rows["found_masks"].where(rows["found_masks"] <= last, 0)
    return rows


def _answers(rows: dict[str, Tensor], task: LightningModule, title: str) -> np.ndarray:
    """Truth beside predictions; `rows` from `surely`."""
    panels, captions, shown = [], [], []
    images, sides = arrays(rows["image"]), rows["inside"].tolist()
    for i, (image, (height, width)) in enumerate(zip(images, sides, strict=True)):
        for name in ("true", "found"):
            there = rows[name][i, :, 4] >= 0
            objects = rows[name][i][there].numpy()
            labels = objects[:, 4].astype(int).tolist()
            shown += labels
            tags = [f"{100 * score:.0f}" for score in objects[:, 5]] if name == "found" else []
            masks = rows.get(f"{name}_masks")
            mask = None if masks is None else masks[i, :height, :width].numpy()
            points = rows[f"{name}_points"][i][there].numpy() if f"{name}_points" in rows else None
            panels.append(_panel(image[:height, :width], objects[:, :4], labels, tags, mask, points))
        missed, nothing = rows["wrong"][i].tolist()
        captions.append(f"{shorten_start(name_text(rows['name'][i].numpy()), 40)}\n{missed} missed, {nothing} wrong")
    drawn = _drawn(panels, task)
    pairs = [*map(list, zip(drawn[::2], drawn[1::2], strict=True))]
    return strips(pairs, ("truth", "found, with scores in %"), captions, _entries(shown, task), title)


def _panel(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    tags: Sequence[str] = (),
    shown: np.ndarray | None = None,
    points: np.ndarray | None = None,
) -> Panel:
    """Enlarge what is drawn."""
    large = enlarged(image)
    shown = None if shown is None else enlarged(shown)
    factor = large.shape[0] / image.shape[0]
    points = None if points is None else points * np.array([factor, factor, 1])
    return Panel(large, boxes * factor, labels, tags, shown, points)


def _drawn(panels: Sequence[Panel], owner: Any) -> list[np.ndarray]:
    """Panels of one figure, with lines of one width; classes and skeleton are those of a task or a data module."""
    palette, edges = object_palette(len(owner.classes)), edges_of(owner)
    small = mostly_small([(panel.image, panel.boxes) for panel in panels])
    return [draw_objects(p.image, p.boxes, p.labels, palette, p.tags, p.shown, small, p.points, edges) for p in panels]


def _entries(labels: Sequence[int], owner: Any) -> list[Entry]:
    """Legend of the drawn classes, the most frequent of many, and of the keypoints of a task or a data module."""
    classes = owner.classes
    legend = class_legend(np.bincount(labels, minlength=len(classes)), classes, object_palette(len(classes)))
    names = names_of(owner)
    return legend + keypoint_legend(names, further_palette(len(classes), len(names)))


def _rows(boxes: Tensor, *columns: Tensor) -> Tensor:
    """Objects as float32 rows: box, class, further columns."""
    return torch.cat([boxes.float(), *(column[:, None].float() for column in columns)], 1)


def _kept(rows: Tensor, scale: Tensor) -> Tensor:
    """Pad or cut rows (N, C) to (MAX_OBJECTS, C), boxes scaled; empty places have class -1."""
    kept = rows.new_full((MAX_OBJECTS, rows.shape[1]), -1)
    count = min(MAX_OBJECTS, len(rows))
    kept[:count] = rows[:MAX_OBJECTS]
    kept[:count, :4] *= scale.to(rows)
    return kept


def _kept_points(points: Tensor, scale: Tensor) -> Tensor:
    """Pad or cut keypoints (N, K, 3) to (MAX_OBJECTS, K, 3), places scaled."""
    kept = points.new_zeros((MAX_OBJECTS, *points.shape[1:]), dtype=torch.float32)
    kept[: len(points)] = points[:MAX_OBJECTS]
    kept[..., :2] *= scale[:2].to(kept)
    return kept


def _thumbnails(rles: list[list], wanted: list[bool], parts: list[list[int]], size: Sequence[int]) -> Tensor:
    """Index maps of small images, uint8 (B, *size), from `stacked`; 0 where not wanted."""
    drawn = torch.zeros((len(rles), *size), dtype=torch.uint8)
    for i in (i for i, chosen in enumerate(wanted) if chosen):
        height, width = parts[i]
        drawn[i, :height, :width] = torch.from_numpy(stacked(rles[i][:MAX_OBJECTS], (height, width)).astype(np.uint8))
    return drawn
