"""Segments as files: COCO's panoptic json with a PNG per image, and segments drawn over their images."""

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
from PIL import Image

from callbacks.figures.objects import object_palette
from callbacks.figures.segments import draw_segments
from callbacks.writers.base import Source
from callbacks.writers.coco_results import number_of
from callbacks.writers.images import ImageFiles, originals, stems
from callbacks.writers.tables import Table, open_text
from modules.contracts import Batch, Prediction, writing

Record = dict[str, Any]


class PanopticFiles(Table):
    """Write segments in COCO's panoptic format, under the ids of the data's annotations where it has some.

    `<stage>_panoptic.json` and, in `<stage>_panoptic/`, a PNG per image whose colors are the ids of its segments:
    panopticapi evaluates both. `<stage>.csv` has a row for every image with the number of its segments. `predict` also
    draws `overlays/`, at most 2,048 pixels wide and high.
    """

    def __init__(self, source: Source) -> None:
        task, data, stage = cast(Any, source.task), cast(Any, source.trainer).datamodule, source.stage
        super().__init__(source.folder / f"{stage}.csv.rows", source.rank, ["path", "image_id", "segments", "record"])
        self.classes, self.things, self.backbone, self.data = task.classes, set(task.things), task.backbone, data
        self.category_ids = data.category_ids or list(range(1, len(self.classes) + 1))
        self.image_ids, self.stage, self.draws = data.image_ids, stage, stage == "predict"
        self.palette, self.kind = object_palette(len(self.classes)), f"{stage}_panoptic"
        self.files = ImageFiles(source.folder, source.rank, {self.kind: ".png", "overlays": ".jpg"})

    def add(self, batch: Batch, prediction: Prediction) -> None:
        images = originals(batch, self.backbone, self.data) if self.draws else iter(())
        columns = (prediction[key] for key in ("segments", "labels", "scores"))
        for name, segments, labels, scores in zip(batch["id"], *columns, strict=True):
            numbers = segments.cpu().numpy()
            with self.files.open(self.kind, name) as file:
                encode_segments(numbers).save(file, "PNG")
            if self.draws:
                self._draw(name, next(images), numbers, labels.tolist())
            infos = list(self._infos(numbers, labels.tolist(), scores.tolist()))
            number = number_of(name, self.image_ids)
            self.write([[name, str(number), str(len(infos)), json.dumps({"image_id": number, "segments_info": infos})]])

    def merge(self, world: int) -> list[Path]:
        usual = csv.field_size_limit(sys.maxsize)  # many segments in one image
        try:
            super().merge(world)
            return self._finish()
        finally:
            csv.field_size_limit(usual)  # which holds for all readers of the process

    def _infos(self, numbers: np.ndarray, labels: list[int], scores: list[float]) -> Iterator[Record]:
        """Segments of an image as in COCO's json; boxes are x, y, width, height."""
        for number, (label, score) in enumerate(zip(labels, scores, strict=True), 1):
            rows, columns = np.nonzero(numbers == number)
            left, top = int(columns.min()), int(rows.min())
            box = [left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top]
            entry = {"id": number, "category_id": self.category_ids[label], "area": len(rows), "bbox": box}
            yield entry | {"iscrowd": 0, "score": round(score, 6)}

    def _draw(self, name: str, image: np.ndarray, numbers: np.ndarray, labels: list[int]) -> None:
        shown = cv2.resize(numbers, image.shape[1::-1], interpolation=cv2.INTER_NEAREST)
        with self.files.open("overlays", name) as file:
            Image.fromarray(draw_segments(image, shown, labels, self.palette)).save(file, "JPEG", quality=90)

    def _finish(self) -> list[Path]:
        """Write the json and the table, and give the images their names."""
        folders, names = self.files.finalize(self.names), stems(self.names)
        table, results = self.path.with_suffix(""), self.path.with_name(f"{self.kind}.json")
        with open_text(self.path, "r") as file:
            rows = list(csv.DictReader(file))
        with writing(table), open_text(table, "w") as file:
            kept = csv.DictWriter(file, ["path", "image_id", "segments"], extrasaction="ignore")
            kept.writeheader()
            kept.writerows(rows)
        found = [json.loads(row["record"]) | {"file_name": f"{names[row['path']]}.png"} for row in rows]
        categories = [
            {"id": key, "name": name, "isthing": int(name in self.things)}
            for key, name in zip(self.category_ids, self.classes, strict=True)
        ]
        images = [{"id": one["image_id"], "file_name": row["path"]} for one, row in zip(found, rows, strict=True)]
        with writing(results):
            part = results.with_name(f"{results.name}.tmp")
            part.write_text(json.dumps({"images": images, "annotations": found, "categories": categories}))
            part.replace(results)
        self.path.unlink()
        return [results, table, *folders]


def encode_segments(numbers: np.ndarray) -> Image.Image:
    """Ids (H, W) as an RGB image: red + 256 green + 65536 blue."""
    return Image.fromarray(np.stack([numbers >> shift & 255 for shift in (0, 8, 16)], -1).astype(np.uint8))
