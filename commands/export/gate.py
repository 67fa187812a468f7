"""The gate of exports: the same samples through PyTorch and through the file, their metrics and their latency."""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import lightning as L
import numpy as np
import torch

import commands.export.object_agreement  # noqa: F401  (registers the comparison of objects)
from commands.export.agreement import EXACT, Difference, Limits, differences
from commands.export.batches import joined, samples_of
from commands.export.report import Side
from commands.predictor import Predictor
from datamodules import DataModule, UnlabeledImages
from datamodules.base import Split
from modules.contracts import Batch, DataError, Prediction
from modules.contracts.preprocessing import Preprocessing
from tasks import Detection, Task

LEAST = 64
"""Samples of a gate, at least."""
KEPT = 512
"""Samples of the test split or of `--images`, evenly spread, that are compared; all of a split count for metrics."""
TOGETHER = 8
"""Samples of `--images` that are in memory together."""
SCALES = ((1.5, 1.1), (0.7, 1.3), (2.0, 2.0), (0.9, 0.5), (1.1, 2.3), (0.5, 0.5), (3.3, 1.0), (1.0, 1.7))
"""Factors of height and width by which some images are compared once more."""
TIMED = 20
"""Runs by which latency is measured, of a sample each, at most."""
LEAST_TIMED, SECONDS = 5, 4.0
"""Runs, at least, and seconds after which there are no more: a large detector takes seconds for an image."""
ORDER: tuple[Split, ...] = ("test", "val", "train")
OFF: dict[str, Any] = dict.fromkeys(
    ("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False
)

Predict = Callable[[Sequence[Any]], list[dict[str, Any]]]
"""Samples to their predictions, a dict each."""


class Gate:
    """Comparison of two programs on the data of a task.

    Args:
        task: counts the metrics; its network is not used.
        data: set up, gives images in original size.
        kind: of the samples.
        images: folder whose images are compared in place of the data's; null for none.
        metrics: count the metrics of the test split.

    Raises:
        DataError: there are too few images.
    """

    def __init__(self, task: Task, data: DataModule, kind: str, images: Path | None, metrics: bool):
        self.task, self.data, self.kind = task, data, kind
        self.metrics = metrics and data.has("test") and type(task).score is not Task.score
        test: Any = data.dataset("test", "evaluate") if self.metrics else ()
        self.tested, self.step = len(test), max(1, -(-len(test) // KEPT))
        self.samples: Sequence[Any] = images_below(images) if images else self._samples()
        self.resized = other_sizes(self.samples or self._first(), data.preprocessing) if kind == "image" else []

    def compare(
        self, ours: Predict, theirs: Predict, names: Sequence[str], folder: Path, iou: float
    ) -> tuple[list[Difference], list[Side], int]:
        """Differences of two programs' predictions, their metrics and latency, and the number of samples.

        Args:
            ours: the reference.
            theirs: the file.
            names: of both.
            folder: for lists of the data module, such as `skipped.txt`.
            iou: with which two boxes are the same.
        """
        sides, predictions = [], []
        for name, predict in zip(names, (ours, theirs), strict=True):
            found: list[dict[str, Any]] = []
            measured = self._measure(predict, found, folder) if self.metrics else {}
            for samples in (self.samples, self.resized):
                for start in range(0, len(samples), TOGETHER):
                    found += predict(samples[start : start + TOGETHER])
            predictions.append(found)
            sides.append(Side(name, measured, latency(predict, self.samples or self._first())))
        return differences(*predictions, limits=limits_of(self.task, iou)), sides, len(predictions[0])

    def _measure(self, predict: Predict, found: list[dict[str, Any]], folder: Path) -> dict[str, float]:
        """Metrics of a program on the test split; its predictions are added to `found`."""
        seen = itertools.count()

        def answer(batch: Batch) -> Prediction:
            answers = predict(batch["source_text"] if self.kind == "text" else samples_of(batch))
            found.extend(one for one in answers if next(seen) % self.step == 0)
            return joined(answers)

        self.task.answer_by(answer)
        trainer = L.Trainer(accelerator="cpu", devices=1, default_root_dir=folder, **OFF)
        trainer.test(self.task, datamodule=self.data, verbose=False)
        return {name: float(value) for name, value in trainer.callback_metrics.items()}

    def _samples(self) -> list[Any]:
        """Samples beside those of the metrics, until there are enough, from the splits in their order; numbered noise.

        Raises:
            DataError: the data has too few.
        """
        if self.kind == "noise":
            return list(range(LEAST))
        known = -(-self.tested // self.step)
        found: list[Any] = []
        for split in ORDER if known < LEAST else ():
            if self.data.has(split) and not (split == "test" and known):
                found += self._read(split, LEAST - known - len(found))
        if known + len(found) < LEAST:
            raise DataError(
                f"the gate compares {LEAST} {self.data.noun}, but {type(self.data).__name__} has "
                f"{known + len(found)}: add --images with a folder of more"
            )
        return found

    def _first(self) -> list[Any]:
        return self._read("test", TIMED)

    def _read(self, split: Split, most: int) -> list[Any]:
        source: Any = self.data.dataset(split, "evaluate")
        if self.kind == "text":
            return source.texts("source")[:most]
        rows = range(min(len(source), most))
        return samples_of(self.data.collate([source[(0, row)] for row in rows])) if rows else []


def limits_of(task: Task, iou: float = EXACT) -> Limits | None:
    """Limits of the objects that a detector finds; null for other tasks."""
    if not isinstance(task, Detection):
        return None
    given = task.head.selection
    return Limits(given.score_threshold, given.detections, iou, given.nms_threshold, given.agnostic_nms)


def other_sizes(images: Sequence[np.ndarray], preprocessing: Preprocessing | None) -> list[np.ndarray]:
    """The first images in other sizes: where all have that of the network, resizing would not be compared.

    Args:
        images: uint8 (H, W, 3).
        preprocessing: transform of the data; where it does not resize, images are only enlarged.
    """
    least = 0.5 if preprocessing and preprocessing.size else 1.0
    found = []
    for factors, image in zip((pair for pair in SCALES if min(pair) >= least), images, strict=False):
        height, width = (max(1, round(factor * side)) for factor, side in zip(factors, image.shape, strict=False))
        found.append(cv2.resize(image, (width, height)))
    return found


class Folder(Sequence[Any]):
    """Images of a data set, each read when it is asked for.

    Args:
        source: the data set.
        rows: of the images.
    """

    def __init__(self, source: Any, rows: Sequence[int]):
        self.source, self.rows = source, rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return Folder(self.source, self.rows[at])
        return self.source[(0, self.rows[at])]["image"]


def images_below(folder: Path) -> Folder:
    """All images below a folder.

    Raises:
        DataError: no such folder, fewer images than a gate needs, or one that cannot be read.
    """
    if not folder.is_dir():
        raise DataError(f"--images {folder} is not a folder")
    data = UnlabeledImages(str(folder), workers=0)
    data.set_original_size()
    data.setup("predict")
    source: Any = data.dataset("train", "evaluate")
    if len(source) < LEAST:
        raise DataError(f"--images {folder} has {len(source)} images, but the gate compares {LEAST} or more: add some")
    return Folder(source, range(0, len(source), -(-len(source) // KEPT)))


def answers_of(predictor: Predictor, kind: str) -> Predict:
    """The answers of a predictor for samples as `samples_of` gives them."""
    if kind == "text":
        return lambda samples: [{k: v for k, v in one.items() if k != "cut"} for one in predictor(samples)]
    if kind != "video":
        return predictor
    size = 4

    def predict(samples: Sequence[np.ndarray]) -> list[dict[str, Any]]:
        prepared = [{"video": views, "id": str(i)} for i, views in enumerate(samples)]
        return [
            one for start in range(0, len(samples), size) for one in predictor.predict(prepared[start : start + size])
        ]

    return predict


def features_of(predictor: Predictor) -> Predict:
    """The features of a predictor's task in place of its answers."""
    task: Any = predictor.task

    def predict(samples: Sequence[Any]) -> list[dict[str, Any]]:
        batch = predictor.data.collate([predictor.prepare(sample) for sample in samples])
        with torch.inference_mode():
            image = task.on_after_batch_transfer(batch, 0)["image"]
            return [{"features": row} for row in task.features(image).float().numpy()]

    return lambda samples: [one for start in range(0, len(samples), 32) for one in predict(samples[start : start + 32])]


def latency(predict: Predict, samples: Sequence[Any]) -> float:
    """Median time in milliseconds of a sample alone, after a first one."""
    timed = [samples[i % len(samples)] for i in range(TIMED)]
    predict(timed[:1])
    times: list[float] = []
    for sample in timed:
        if len(times) >= LEAST_TIMED and sum(times) > SECONDS:
            break
        start = time.perf_counter()
        predict([sample])
        times.append(time.perf_counter() - start)
    return 1000 * float(np.median(times))
