"""Detections as COCO-results JSON, which pycocotools and its kin load: one object per line of a list."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from callbacks.files.tables import Table, open_text
from modules.contracts import Prediction, writing

Record = dict[str, Any]


def records(
    ids: list[str], prediction: Prediction, category_ids: list[int], image_ids: dict[str, int] | None = None
) -> Iterator[Record]:
    """What was found in some pictures, as entries of a results file, in the order of pictures and of scores.

    Args:
        ids: of the pictures.
        prediction: lists with one entry per picture, in pixels of the original: `boxes` float32 (N, 4) xyxy, `scores`
            (N,), `labels` int64 (N,), and perhaps `rle`, N compressed COCO RLE dicts.
        category_ids: what the annotations call each class index.
        image_ids: what the annotations call each picture; without them an entry has the picture's id, a path.
    """
    outlines = prediction.get("rle", [None] * len(ids))
    for name, boxes, scores, labels, rles in zip(
        ids, prediction["boxes"], prediction["scores"], prediction["labels"], outlines, strict=True
    ):
        number = name if image_ids is None else image_ids[name]
        corners = boxes.double().cpu()  # sides of large boxes keep their fractions
        sides = corners[:, 2:] - corners[:, :2]
        rows = zip(_short(corners[:, :2]), _short(sides), _short(scores), labels.tolist(), strict=True)
        for i, (corner, side, score, label) in enumerate(rows):
            entry = {"image_id": number, "category_id": category_ids[label], "bbox": corner + side, "score": score}
            yield entry if rles is None else entry | {"segmentation": _text(rles[i])}


def write_results(path: Path, entries: Iterable[Record]) -> None:
    """Writes entries as a JSON list; a file under its final name is complete.

    Raises:
        DataError: the file cannot be written.
    """
    _write(path, (json.dumps(entry, separators=(",", ":")) for entry in entries))


class ResultFile(Table):
    """A results file written as the batches come, by any number of processes.

    Args:
        path: final name.
        rank: of this process.
        category_ids: what the annotations call each class index.
        image_ids: what the annotations call each picture, if they have numbers.
    """

    def __init__(self, path: Path, rank: int, category_ids: list[int], image_ids: dict[str, int] | None = None):
        super().__init__(path.with_name(f"{path.name}.rows"), rank, ["path", "entries"])
        self.results, self.category_ids, self.image_ids = path, category_ids, image_ids
        self.names: list[str] = []  # of all pictures, after `merge`

    def add(self, ids: list[str], prediction: Prediction) -> None:
        for i, name in enumerate(ids):
            one = {key: prediction[key][i : i + 1] for key in ("boxes", "scores", "labels", "rle") if key in prediction}
            found = records([name], one, self.category_ids, self.image_ids)
            self.write([[name, ",\n".join(json.dumps(entry, separators=(",", ":")) for entry in found)]])

    def merge(self, world: int) -> list[Path]:
        csv.field_size_limit(sys.maxsize)  # many masks in one picture
        super().merge(world)
        self.names = []
        with open_text(self.path, "r") as file:
            _write(self.results, self._entries(csv.DictReader(file)))
        self.path.unlink()
        return [self.results]

    def _entries(self, rows: Iterable[dict[str, str]]) -> Iterator[str]:
        for row in rows:
            self.names.append(row["path"])
            if row["entries"]:
                yield row["entries"]


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
    """Numbers with no more digits than float32 tells apart."""
    array = values.float().cpu().numpy()
    return np.array([float(str(value)) for value in array.ravel()]).reshape(array.shape).tolist()


def _text(rle: dict[str, Any]) -> dict[str, Any]:
    counts = rle["counts"]
    return {"size": [*map(int, rle["size"])], "counts": counts.decode() if isinstance(counts, bytes) else counts}
