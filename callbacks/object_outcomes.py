"""Pictures of detection: training batches with their boxes, what was found beside what is there, the worst misses."""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from lightning.pytorch import LightningDataModule, LightningModule
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.ops import box_iou

from callbacks.drawing import shorten, shorten_start
from callbacks.mask_outcomes import SIDE, name_bytes, name_text
from callbacks.outcomes import Outcomes, arrays, visible
from callbacks.overlays import Palette, enlarged, palette_of
from callbacks.strips import strips, swatch
from modules.contracts import Backbone, Batch, Prediction

MOST = 50  # boxes of a picture that are kept to be drawn, those with the highest scores
SURE = 0.5  # lowest score of a detection that is drawn and counts as a mistake where nothing is
OVERLAP = 0.5  # lowest IoU of a detection with what it found


class ObjectOutcomes(Outcomes):
    """Answers `{boxes, scores, labels}` to pictures with a `truth`. The worst have the most objects not found and
    detections of nothing, of score 0.5 and more and IoU 0.5 and more."""

    @staticmethod
    def fits(outputs: Prediction, batch: Batch) -> bool:
        return "boxes" in outputs and "truth" in batch

    def update(self, batch: Batch, outputs: Prediction, task: LightningModule, rank: int, world: int) -> None:
        image, inside = batch["image"], batch["inside"]
        factor = min(1.0, SIDE / max(image.shape[-2:]))
        small = interpolate(image.float(), scale_factor=factor, mode="area") if factor < 1 else image
        scale = (inside * factor / batch["size"]).float().flip(1).repeat(1, 2)  # (B, 4), from the original's pixels
        found = zip(outputs["boxes"], outputs["labels"], outputs["scores"], strict=True)
        said = [_rows(boxes[scores >= SURE], labels[scores >= SURE]) for boxes, labels, scores in found]
        true = [_rows(one["boxes"], one["labels"]).to(image.device) for one in batch["truth"]]
        crowd = [one["crowd"].to(image.device) for one in batch["truth"]]
        wrong = torch.stack([mistakes(*one) for one in zip(said, true, crowd, strict=True)])
        rows = {
            "image": visible(small, task.backbone),
            "inside": (inside * factor).long(),
            "true": torch.stack([_kept(one, s) for one, s in zip(true, scale, strict=True)]),
            "found": torch.stack([_kept(one, s) for one, s in zip(said, scale, strict=True)]),
            "wrong": wrong,
            "name": name_bytes(batch["id"]).to(image.device, non_blocking=True),
        }
        self.keep(rows, torch.where(wrong.sum(1) > 0, wrong.sum(1).float(), -torch.inf), rank, world)

    def draw(self, stage: str, task: LightningModule, data: LightningDataModule) -> Iterator[tuple[str, np.ndarray]]:
        title = f"{stage}: what is there, and detections of score {SURE} and more"
        yield "predictions", _answers(self.sample.kept(), task.classes, palette_of(data, task.classes), title)
        title = f"{stage}: pictures with the most objects missed and detections of nothing"
        yield "mistakes", _answers(self.worst.kept(), task.classes, palette_of(data, task.classes), title)


def mistakes(found: Tensor, true: Tensor, crowd: Tensor) -> Tensor:
    """Objects not found and detections of nothing, int64 (2,), of one picture.

    Args:
        found: (N, 5): boxes xyxy and class.
        true: (M, 5): the same.
        crowd: bool (M,): what may be found or not.
    """
    hits = (box_iou(found[:, :4], true[:, :4]) >= OVERLAP) & (found[:, None, 4] == true[:, 4])
    missed = ~hits.any(0) & ~crowd if len(found) else ~crowd
    nothing = ~hits.any(1) if len(true) else torch.ones_like(found[:, 0], dtype=torch.bool)
    return torch.stack([missed.sum(), nothing.sum()])


def draw_boxes(batch: Batch, samples: int, backbone: Backbone, data: LightningDataModule) -> np.ndarray:
    """The first pictures of a training batch with their boxes, and masks where there are some."""
    pictures = arrays(visible(batch["image"][:samples], backbone))
    palette, rows, seen = palette_of(data, data.classes), [], set()
    for i, picture in enumerate(pictures):
        labels = batch["labels"][i].tolist()
        masks = batch["masks"][i].cpu().numpy() if "masks" in batch else []
        tinted = picture.copy()
        for mask, label in zip(masks, labels, strict=False):
            tinted[mask > 0] = tinted[mask > 0] // 2 + np.array(palette[label], np.uint8) // 2
        seen |= set(labels)
        rows.append([_framed(tinted, batch["boxes"][i].cpu().numpy(), labels, palette)])
    captions = [shorten_start(name, 24) for name in batch["id"][:samples]]
    return strips(rows, ("",), captions, _entries(seen, data.classes, palette), "First training batch")


def _answers(rows: dict[str, Tensor], classes: Sequence[str], palette: Palette, title: str) -> np.ndarray:
    panels, captions, seen = [], [], set()
    pictures, sides = arrays(rows["image"]), rows["inside"].tolist()
    for i, (picture, (height, width)) in enumerate(zip(pictures, sides, strict=True)):
        panel = []
        for name in ("true", "found"):
            boxes = rows[name][i][rows[name][i, :, 4] >= 0].numpy()
            labels = boxes[:, 4].astype(int).tolist()
            seen |= set(labels)
            panel.append(_framed(picture[:height, :width], boxes[:, :4], labels, palette))
        panels.append(panel)
        missed, nothing = rows["wrong"][i].tolist()
        captions.append(f"{shorten_start(name_text(rows['name'][i].numpy()), 40)}\n{missed} missed, {nothing} wrong")
    return strips(panels, ("truth", "found"), captions, _entries(seen, classes, palette), title)


def _framed(picture: np.ndarray, boxes: np.ndarray, labels: Sequence[int], palette: Palette) -> np.ndarray:
    """The picture, enlarged, with boxes (N, 4) in its pixels, each in the colour of its class on a white line."""
    drawn = np.ascontiguousarray(enlarged(picture))
    factor = drawn.shape[0] / picture.shape[0]
    for box, label in zip((boxes * factor).round().astype(int).tolist(), labels, strict=True):
        for colour, width in (((255, 255, 255), 4), (palette[label], 2)):
            cv2.rectangle(drawn, box[:2], box[2:], colour, width)
    return drawn


def _entries(seen: set[int], classes: Sequence[str], palette: Palette) -> list[tuple[str, np.ndarray]]:
    return [(shorten(classes[label], 18), swatch(palette[label])) for label in sorted(seen)[:20]]


def _rows(boxes: Tensor, labels: Tensor) -> Tensor:
    return torch.cat([boxes.float(), labels[:, None].float()], 1)


def _kept(rows: Tensor, scale: Tensor) -> Tensor:
    """(MOST, 5) of (N, 5), boxes scaled; empty places have class -1."""
    kept = rows.new_full((MOST, 5), -1)
    count = min(MOST, len(rows))
    kept[:count] = rows[:MOST]
    kept[:count, :4] *= scale.to(rows)
    return kept
