"""Extracted features of the splits, and a sample of the images behind them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from lightning.pytorch import Trainer
from torch import Tensor

from callbacks.collectors.chosen import evenly, shots
from commands.evaluate.features import Embedded, embed_split, samples, stills
from datamodules.base import Split
from modules.contracts import DataError
from modules.metrics.bootstrap import Items, intervals
from modules.metrics.bootstrap.records import means
from tasks import Task


class Result(NamedTuple):
    """A metric with its protocol in words, and where it has one its 95 % interval over a number of items."""

    metric: str
    value: float
    protocol: str
    interval: list[float] | None = None
    items: int | None = None


@dataclass(frozen=True)
class ExtractedFeatures:
    """Features under evaluation.

    Args:
        trainer: knows data, device and run directory.
        task: whose features they are.
        split: under evaluation.
        bank: features of the train split, the training set of the probes.
        evaluated: features of `split`.
        held: features of the val split, to choose settings on, when `split` is another one.
        images: a sample of `split`, uint8 images (n, 3, H, W) or clips (n, 3, T, H, W).
        places: their indices in the split, (n,).
        rows: their rows in `evaluated`, int64 (n,); differs from `places` where broken images were left out.
        off: reason why probes that need labels are off; empty when they are on.
        seed: of all random draws.
    """

    trainer: Trainer
    task: Task
    split: Split
    bank: Embedded
    evaluated: Embedded
    held: Embedded | None
    images: Tensor
    places: np.ndarray
    rows: Tensor
    off: str
    seed: int

    @property
    def classes(self) -> list[str]:
        """Names of the classes; empty without labels."""
        return [] if self.off else self.trainer.datamodule.classes

    @property
    def splits(self) -> dict[Split, Embedded]:
        """Features of all splits, by name."""
        held: dict[Split, Embedded] = {} if self.held is None else {"val": self.held}
        return {"train": self.bank, **held, self.split: self.evaluated}

    @property
    def noun(self) -> str:
        """Name of the samples, such as images or videos."""
        return self.trainer.datamodule.noun

    @property
    def stills(self) -> Tensor:
        """`images` for figures: the middle frames of clips, uint8 (n, 3, H, W)."""
        return stills(self.images)

    @property
    def counts(self) -> str:
        """Numbers of samples in the bank and in the split under evaluation, in words."""
        return f"bank {len(self.bank.ids):,} train {self.noun}, {len(self.evaluated.ids):,} {self.split} {self.noun}"

    @property
    def sampled(self) -> str:
        """Size of the sample of images, in words."""
        part = "" if len(self.rows) == len(self.evaluated.ids) else f" of {len(self.evaluated.ids):,}"
        return f"{len(self.rows):,}{part} {self.split} {self.noun}"

    def result(self, name: str, value: float, protocol: str) -> Result:
        """A metric of the split under evaluation."""
        return Result(f"{self.split}/{name}", value, protocol)

    def right(self, predicted: Tensor) -> Tensor:
        """Right answers among predicted classes (N,) of the samples under evaluation, bool (N,)."""
        return predicted.eq(torch.as_tensor(self.evaluated.labels))

    def share(self, name: str, right: Tensor, protocol: str) -> Result:
        """Mean of `right` (N,), 0..1, over the samples under evaluation, with its interval."""
        known = {name: right.double().cpu().numpy()}
        estimate = intervals(Items(np.array(self.evaluated.ids), means(known)))[name]
        result = self.result(name, float(known[name].mean()), protocol)
        return result if estimate is None else result._replace(interval=estimate.ends, items=estimate.items)

    def name(self, row: int) -> str:
        """Class of a row of `evaluated`, "" without labels."""
        return "" if self.off else self.classes[int(self.evaluated.labels[row])]


def collect(trainer: Trainer, task: Task, split: Split, most: int) -> ExtractedFeatures:
    """Computes the features of the splits that are needed, and decodes up to `most` images of `split`.

    Raises:
        DataError: features that are not finite.
    """
    data = trainer.datamodule
    needed: list[Split] = ["train", split, *(["val"] if split == "test" and data.has("val") else [])]
    found = {name: embed_split(name, trainer, task) for name in needed}
    for name, part in found.items():
        if not part.features.isfinite().all():
            raise DataError(
                f"features of the {name} split are not finite: this checkpoint is of a training that failed"
            )
    places = evenly(len(data.dataset(split, "plain")), most)
    batches = list(samples(data, split, "plain", places))
    row = {name: i for i, name in enumerate(found[split].ids)}
    return ExtractedFeatures(
        trainer,
        task,
        split,
        bank=found["train"],
        evaluated=found[split],
        held=found.get("val") if split == "test" else None,
        images=torch.cat([shots(batch) for batch in batches]),
        places=places,
        rows=torch.tensor([row[name] for batch in batches for name in batch["id"]]),
        off=_why_off(found, len(data.classes or [])),
        seed=data.seed,
    )


def _why_off(splits: dict[Split, Embedded], classes: int) -> str:
    """Reason why probes that need labels cannot run; "" when they can."""
    unlabeled = [name for name, part in splits.items() if part.labels is None]
    if unlabeled or not classes:
        lacking = f"the {' and '.join(unlabeled)} samples have no labels, one class each"
        return lacking if unlabeled else "the data names no classes"
    return "there is only one class" if classes == 1 else ""
