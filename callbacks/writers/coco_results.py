"""Detections as COCO-results JSON, as loaded by pycocotools: a list, one object per line.

Boxes, masks and keypoints are files of their own: where an entry has a box too, pycocotools takes the area of a mask or
of keypoints from the box, and AP by size comes out otherwise.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from callbacks.writers.tables import Table, open_text
from modules.contracts import Batch, Prediction, writing
from modules.contracts.image_ids import image_number
from modules.metrics.threshold import Threshold, reaches

Record = dict[str, Any]
COUNTS = ("objects", "detections")
COLUMNS = (*COUNTS, "boxes", "masks", "keypoints")
KEYS = ("bbox", "segmentation", "keypoints")


def records(
    ids: list[str], prediction: Prediction, category_ids: list[int], image_ids: dict[str, int] | None = None
) -> Iterator[Record]:
    """Detections of some images as entries of a results file, in the order of images and of scores.

    Args:
        ids: of the images.
        prediction: lists with one entry per image, in pixels of the original: `boxes` float32 (N, 4) xyxy, `scores`
            (N,), `labels` int64 (N,), and perhaps `rle`, N compressed COCO RLE dicts, or `keypoints` (N, K, 3), x, y
            and score.
        category_ids: annotations' category id of each class index.
        image_ids: annotations' id of each image; others get a number computed from their path.

    Returns:
        Entries with `image_id`, `file_name` (the image's id), `category_id`, `bbox` in xywh, `score` and, where there
        are some, `segmentation` or `keypoints` (x, y and score of each in one list).
    """
    outlines, points = (prediction.get(key, [None] * len(ids)) for key in ("rle", "keypoints"))
    columns = (prediction[key] for key in ("boxes", "scores", "labels"))
    for name, boxes, scores, labels, rles, spots in zip(ids, *columns, outlines, points, strict=True):
        number = number_of(name, image_ids)
        corners = boxes.double().cpu()  # sides of large boxes keep their fractions
        sides = corners[:, 2:] - corners[:, :2]
        rows = zip(_short(corners[:, :2]), _short(sides), _short(scores), labels.tolist(), strict=True)
        for i, (corner, side, score, label) in enumerate(rows):
            entry = {"image_id": number, "file_name": name, "category_id": category_ids[label]}
            entry |= {"bbox": corner + side, "score": score}
            entry |= {} if rles is None else {"segmentation": _text(rles[i])}
            yield entry if spots is None else entry | {"keypoints": _short(spots[i].flatten())}


def number_of(name: str, image_ids: dict[str, int] | None) -> int:
    """Image id of the annotations, else the number computed from its path."""
    known = (image_ids or {}).get(name)
    return image_number(name) if known is None else known


def write_results(path: Path, entries: Iterable[Record]) -> None:
    """Write entries as a JSON list; a file under its final name is complete.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, (_line(entry) for entry in entries))


class ResultFile(Table):
    """Write COCO results batch by batch, from any number of processes.

    `<name>.json` of boxes or, where there are masks or keypoints, `<name>_bbox.json` and `<name>_segm.json` or
    `<name>_keypoints.json`, object by object in the same order; and `<name>.csv`, a row for every image, with the
    columns `path`, `image_id`, `objects` (detections of the score `sure` and more) and `detections` (all).

    Args:
        path: of the results, `<name>.json`.
        rank: of this process.
        category_ids: annotations' category id of each class index.
        image_ids: annotations' id of each image, if they have numbers.
        sure: lowest score, 0..1, of what counts as an object, or that of each class.
    """

    def __init__(
        self,
        path: Path,
        rank: int,
        category_ids: list[int],
        image_ids: dict[str, int] | None = None,
        sure: Threshold = 0.0,
    ):
        super().__init__(path.with_name(f"{path.name}.rows"), rank, ["path", "image_id", *COLUMNS])
        self.results, self.category_ids, self.image_ids = path, category_ids, image_ids
        self.more: set[str] = set()
        self.sure = sure

    def add(self, batch: Batch, prediction: Prediction) -> None:
        for i, name in enumerate(batch["id"]):
            keys = ("boxes", "scores", "labels", "rle", "keypoints")
            one = {key: prediction[key][i : i + 1] for key in keys if key in prediction}
            found = records([name], one, self.category_ids, self.image_ids)
            certain = int(reaches(prediction["scores"][i], prediction["labels"][i], self.sure).sum())
            self.write([[name, number_of(name, self.image_ids), certain, *_columns([*found])]])
        self.more |= prediction.keys() & {"rle", "keypoints"}

    def merge(self, world: int) -> list[Path]:
        usual = csv.field_size_limit(sys.maxsize)  # many masks in one image
        try:
            return self._merged(world)
        finally:
            csv.field_size_limit(usual)  # which holds for all readers of the process

    def _merged(self, world: int) -> list[Path]:
        super().merge(world)
        kinds = {"boxes": "_bbox" if self.more else ""}
        kinds |= {"masks": "_segm"} if "rle" in self.more else {}
        kinds |= {"keypoints": "_keypoints"} if "keypoints" in self.more else {}
        written = [self.results.with_name(f"{self.results.stem}{end}.json") for end in kinds.values()]
        for kind, path in zip(kinds, written, strict=True):
            _write(path, filter(None, self._column(kind)))
        written.append(self._images())
        self.path.unlink()
        return written

    def _column(self, name: str) -> Iterator[str]:
        with open_text(self.path, "r") as file:
            yield from (row[name] for row in csv.DictReader(file))

    def _images(self) -> Path:
        """Write a row for every image, with or without objects."""
        path = self.results.with_suffix(".csv")
        part = path.with_name(f"{path.name}.tmp")
        with writing(path), open_text(self.path, "r") as file, open_text(part, "w") as table:
            rows = csv.DictWriter(table, ["path", "image_id", *COUNTS], extrasaction="ignore")
            rows.writeheader()
            rows.writerows(csv.DictReader(file))
        part.replace(path)
        return path


def _columns(found: list[Record]) -> list[str | int]:
    """Number of detections, entries with boxes, with masks, and with keypoints."""
    return [len(found), *(_lines(found, key) for key in KEYS)]


def _lines(found: list[Record], key: str) -> str:
    """Entries with one of `KEYS`, without the others."""
    others = {*KEYS} - {key}
    return ",\n".join(_line({k: v for k, v in one.items() if k not in others}) for one in found if key in one)


def _line(entry: Record) -> str:
    return json.dumps(entry, separators=(",", ":"))


def _write(path: Path, entries: Iterable[str]) -> None:
    part = path.with_name(f"{path.name}.tmp")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            file.write("[")
            for i, entry in enumerate(entries):
                file.write(f",\n{entry}" if i else f"\n{entry}")
            file.write("\n]\n")
        part.replace(path)


def _short(values: Tensor) -> list:
    """Numbers with the digits that float32 can represent."""
    array = values.float().cpu().numpy()
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()


def _text(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": [*map(int, rle["size"])], "counts": counts.decode() if isinstance(counts, bytes) else counts}
