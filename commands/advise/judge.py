"""Probes of a backbone's features on a fixed sample of the images, as `evaluate` makes them."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from callbacks.collectors.chosen import evenly
from callbacks.collectors.embedding import embed
from commands.evaluate.accuracies import probe, vote
from commands.evaluate.extraction import ExtractedFeatures
from commands.evaluate.features import Embedded, samples
from commands.evaluate.trainer import Trainer
from commands.evaluate.voting import choose_voting
from datamodules import DataModule
from datamodules.base import Split
from modules.contracts import DataError
from modules.metrics.bootstrap import Estimate, Items, difference, load
from modules.metrics.bootstrap.records import means
from modules.training.transfer import load_backbone
from tasks import Task, VisionTask

MOST: dict[Split, int] = {"train": 5000, "val": 2000}
"""Images of each split that are looked at, evenly spread."""
MOST_BYTES = 2**28
"""Of decoded images of a split, which are kept in memory."""
NEIGHBORS = 20


class Judged(NamedTuple):
    """Accuracy of a linear probe and of kNN on features.

    Args:
        probe: accuracy 0..1 of the linear probe.
        low: lower end of its 95 % interval over val images.
        high: upper end.
        knn: accuracy 0..1 of kNN.
        protocol: of the probe.
        items: file of the answers of the probe, one per val image.
        seconds: of the training in all; 0 without.
        steps: of the training; 0 without.
    """

    probe: float
    low: float
    high: float
    knn: float
    protocol: str
    items: str
    seconds: float = 0.0
    steps: int = 0


class Judge:
    """Linear probe and kNN of features on val images, with a bank of train images.

    Args:
        data: set up for `fit`; its plain images are decoded once.
        trainer: knows device and precision.
    """

    def __init__(self, data: DataModule, trainer: Trainer):
        self.data, self.trainer = data, trainer
        trainer.attach(data)
        self.batches = {split: self._decoded(split) for split in MOST}

    @property
    def words(self) -> str:
        """Number of images and classes, and how many of them are looked at."""
        parts = []
        for split, batches in self.batches.items():
            source: Any = self.data.dataset(split, "plain")
            seen, there = sum(len(batch["id"]) for batch in batches), len(source)
            parts.append(f"{there:,} {split} images" + (f" (probes take {seen:,})" if seen < there else ""))
        side = "x".join(map(str, self.batches["val"][0]["image"].shape[-2:]))
        return f"{', '.join(parts)} of {len(self.data.classes or ())} classes, {side} pixels"

    def _decoded(self, split: Split) -> list[Any]:
        source: Any = self.data.dataset(split, "plain")
        first = next(samples(self.data, split, "plain", [0]))["image"]
        rows = evenly(len(source), min(MOST[split], MOST_BYTES // first.nbytes + 1))
        found = []
        for batch in samples(self.data, split, "plain", rows):
            found.append(self.data.on_before_batch_transfer(batch, 0))
        return found

    def __call__(self, task: Task, items: Path) -> Judged:
        """Judge the features of a task, and write the answers to `items`.

        Raises:
            DataError: features are not finite, as after a training that failed.
        """
        task.to(self.trainer.strategy.root_device)
        found = {}
        for split, batches in self.batches.items():
            features, labels = embed(batches, self.trainer, task)
            if not features.isfinite().all():
                raise DataError("its features are not finite")
            found[split] = Embedded(features, labels, [name for batch in batches for name in batch["id"]])
        none = torch.empty(0)
        extracted = ExtractedFeatures(
            self.trainer, task, "val", found["train"], found["val"], None, none, np.empty(0), none, "", self.data.seed
        )
        result, classifier = probe(extracted, 1.0)
        right = extracted.right(classifier["probe"](found["val"].features)).cpu().numpy()
        Items(np.array(found["val"].ids), means({"probe": right})).save(items)
        k = min(NEIGHBORS, len(found["train"].ids))
        (knn,), _ = vote(extracted, (k,), choose_voting("cosine", None, None, 0.1))
        low, high = result.interval or (result.value, result.value)
        return Judged(result.value, low, high, knn.value, result.protocol, str(items))


def loaded(task: VisionTask, source: str | Path) -> VisionTask:
    """The task with weights in the backbone whose features it has, which is a teacher's in some."""
    for backbone in {task.backbone, task.exported}:
        load_backbone(backbone, str(source))
    return task


def apart(first: Judged, second: Judged, folder: Path) -> Estimate:
    """Difference of two probes, first minus second, paired by image."""
    pair = [load(folder / one.items) for one in (first, second)]
    same = Estimate(0.0, 0.0, 0.0, 0.0, len(pair[0].ids))  # the same answers to every image
    return difference([pair[0]], [pair[1]])["probe"] or same
