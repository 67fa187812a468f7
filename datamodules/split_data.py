"""Base of the data modules with splits: stratified validation split and label subset, unreadable files."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np

from datamodules.base import DataModule, Split
from datamodules.division import check_folds, check_labels, divide, fold_of, groups_of, strata_of
from datamodules.duplicates import Listed, report, shared_files
from datamodules.finding import count_suffixes
from datamodules.pairs import Pairs
from datamodules.samples import collate
from datamodules.setting_roles import Role
from datamodules.source import Source
from modules.contracts import Batch, ConfigError, DataError, counted, writing
from modules.contracts.data_info import DataInfo

Samples = Source | Pairs

SHOWN = 5  # samples that a sentence names
IMBALANCE = 3  # times as many samples of the most frequent class as of the rarest, to say so


class SplitData(DataModule):
    """Base of the data modules whose samples come in splits.

    Args:
        label_fraction: fraction in (0, 1] of the training samples that keep their label and are used: the same share of
            every class where a sample has one, drawn with the seed.
        num_labels: number of training samples that keep their label and are used, drawn like `label_fraction` and in
            its place; at least one of every class.
        val_split: share of the training samples set aside for validation when the data has no validation set; the
            same share of every class where a sample has one, the same samples for every seed.
        folds: k-fold cross-validation: number of folds into which the training samples are divided, the same share of
            every class where a sample has one, the same folds for every seed; one is the test set. 0 is none.
        held_out_fold: fold that is the test set, 0..folds-1; the data's own test set is then left out.
        fold_groups: samples that must stay in one fold: `folder` for those of one folder, or `FILE.csv:COLUMN`, a table
            with a column `path` of the samples' ids.
        on_error: handling of unreadable samples: `raise` stops, `skip` leaves them out, counted and listed in the run
            directory.
        batch_size: samples per device and step.
        workers: processes that load; 0 loads in the main process.
    """

    roles: ClassVar[dict[str, Role]] = {
        "label_fraction": "training",
        "num_labels": "training",
        "val_split": "samples",
        "folds": "samples",
        "held_out_fold": "samples",
        "fold_groups": "samples",
        "on_error": "samples",
    }
    remedy = "mend or remove them"

    def __init__(
        self,
        label_fraction: float = 1.0,
        num_labels: int | None = None,
        val_split: float = 0.1,
        folds: int = 0,
        held_out_fold: int = 0,
        fold_groups: str | None = None,
        on_error: Literal["raise", "skip"] = "raise",
        batch_size: int = 64,
        workers: int = 2,
    ):
        super().__init__(batch_size, workers)
        check_labels(label_fraction, num_labels)
        if not 0 <= val_split < 1:
            raise ConfigError(f"data.val_split is {val_split:g}, but must be at least 0 and below 1")
        check_folds(folds, held_out_fold, fold_groups)
        self.folds, self.held_out_fold, self.fold_groups = folds, held_out_fold, fold_groups
        self.label_fraction, self.num_labels = label_fraction, num_labels
        self.val_split, self.on_error = val_split, on_error
        self.splits: dict[Split, tuple[Samples, np.ndarray]] = {}
        self.unlabeled: list[str] = []  # sentences about folders of splits that have no labels
        self.others: list[Path] = []  # files of kinds that are not read
        self.shared: list[str] = []  # sentences about files in two splits

    def sources(self) -> dict[Split, Samples]:
        """The images of each split on disk; called once, before the first step."""
        raise NotImplementedError

    def prepared(self, sources: dict[Split, Samples]) -> dict[Split, Samples]:
        """The samples of each split after the inspection of all."""
        return sources

    def broken(self, source: Samples) -> dict[int, str]:
        """The samples that cannot be used, each with a clause: its file and the fault."""
        return {}

    def files_of(self, split: Split) -> Listed:
        """The files of a split to be compared with those of others; empty where samples have no file of their own."""
        return []

    def passed_over(self) -> list[Path]:
        """Files below the root of a kind that is not read."""
        return []

    def setup(self, stage: str | None = None) -> None:
        if stage == "predict":  # every sample is predicted
            self.val_split, self.folds, self.label_fraction, self.num_labels = 0.0, 0, 1.0, None
        if not self.splits:
            sources = self.prepared(self.sources())
            broken = {split: self.broken(source) for split, source in sources.items()}
            self._refuse(broken, sources)
            self.splits = {split: (source, self._readable(source, broken[split])) for split, source in sources.items()}
            self.others = self.passed_over()
            self.skipped += [f"{path}: files of this kind are not read" for path in self.others]
            apart = "val" not in self.splits and self.val_split > 0
            self.splits = {split: part for split, part in self.splits.items() if len(part[1])}
            if "train" in self.splits:
                self._divide(apart)
            self.splits = {split: self.splits[split] for split in ("train", "val", "test") if split in self.splits}
            shared = shared_files({split: self.files_of(split) for split in self.splits})
            self.shared = report(shared, self.noun)
        if self.trainer and self.trainer.is_global_zero:
            self.write_list("skipped.txt", self.skipped)

    def on_before_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Count and list samples that turned out broken only when they were decoded."""
        fresh = [name for name in batch.pop("skipped", []) if name not in self.skipped]
        self.skipped += fresh
        self.write_list("skipped.txt", fresh)
        return batch

    collate = staticmethod(collate)

    def describe(self) -> list[str]:
        lines = [
            f"{split}: {counted(len(rows), self.noun)}{self.about(split)}" for split, (_, rows) in self.splits.items()
        ]
        lines += self.more() + self.unlabeled
        if self.folds:
            lines.append(f"test is fold {self.held_out_fold} of {self.folds} of the training {self.noun}")
        if self.others:
            lines.append(f"left out: files of kinds that are not read: {count_suffixes(self.others)}")
        if self.skipped:
            lines.append(f"skipped: {counted(len(self.skipped), self.noun)} that cannot be used, listed in skipped.txt")
        return lines + self.shared

    def about(self, split: Split) -> str:
        """Part of the startup summary about a split, behind the number of samples."""
        if not self._labeled(split):
            return ""
        counts = self._class_counts(split)
        return f" of {len(self.classes)} classes, {extent(counts)} each"

    def class_counts(self) -> np.ndarray | None:
        """Training samples of each class, int64 (C,); null without labels."""
        return self._class_counts("train") if self._labeled("train") else None

    def data_info(self) -> DataInfo:
        return replace(super().data_info(), class_counts=self.class_counts)

    def majority_accuracy(self, split: Split) -> float | None:
        if not (self._labeled("train") and self._labeled(split)):
            return None
        judged = self._class_counts(split)
        return float(judged[self._class_counts("train").argmax()] / judged.sum())

    def _labeled(self, split: Split) -> bool:
        return bool(self.classes) and split in self.splits and self.splits[split][0].labels is not None

    def _class_counts(self, split: Split) -> np.ndarray:
        source, indices = self.splits[split]
        return np.bincount(source.labels[indices], minlength=len(self.classes))

    def describe_classes(self, remedy: bool = True) -> list[str]:
        judged = next((split for split in ("val", "test") if self._labeled(split)), None)
        if judged is None or not self._labeled("train"):
            return []
        counts = self.class_counts()
        most, least = self.classes[counts.argmax()], self.classes[counts.argmin()]
        lines = [f"accuracy without a network on {judged}: {self.majority_accuracy(judged):.3f}, always {most!r}"]
        if counts.max() >= IMBALANCE * counts.min():
            lines.append(
                f"classes are imbalanced, {counts.max():,} {self.noun} of {most!r} and {counts.min():,} of {least!r}: "
                f"accuracy favors the frequent ones; look at the metrics of each class too"
                + (", and try --model.head.class_weights auto" if remedy else "")
            )
        return lines

    def more(self) -> list[str]:
        """Lines of the startup summary about all splits together."""
        return []

    def _divide(self, apart: bool) -> None:
        """Split validation samples off where the data has none (`apart`), then drop training samples without label."""
        source, train = self.splits["train"]
        if self.folds:
            train, held = self._fold(source, train)
            self.splits["test"] = (source, held)
        if apart:
            train, val = divide(strata_of(source), train, 1 - self.val_split, np.random.default_rng(0))
            if len(val):
                self.splits["val"] = (source, val)
        fraction = self.label_fraction
        if self.num_labels is not None:
            if self.num_labels > len(train):
                raise ConfigError(
                    f"data.num_labels is {self.num_labels:,}, but there are only {len(train):,} training {self.noun}"
                )
            fraction = self.num_labels / len(train)
        if fraction != 1.0:
            train, _ = divide(strata_of(source), train, fraction, np.random.default_rng((self.seed, 1)))
        self.splits["train"] = (source, train)

    def _fold(self, source: Samples, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows of the other folds and of the one held out."""
        labels = strata_of(source, rows, self.folds)
        names = [source.id(row) for row in rows]
        groups = groups_of(names, self.fold_groups) if self.fold_groups else None
        held = fold_of(labels, self.classes or (), groups, self.folds, len(rows)) == self.held_out_fold
        return rows[~held], rows[held]

    def write_list(self, name: str, lines: list[str]) -> None:
        """Add lines to a file of the run directory, those that a resumed run does not find there already."""
        if lines:
            path = Path(self.trainer.default_root_dir) / name
            known = set(path.read_text().splitlines()) if path.exists() else set()
            with writing(path), path.open("a") as file:
                file.writelines(f"{line}\n" for line in lines if line not in known)

    def _refuse(self, broken: dict[Split, dict[int, str]], sources: dict[Split, Samples]) -> None:
        """Raise DataError for samples that cannot be used, unless they are skipped and each split keeps some."""
        clauses = [clause for found in broken.values() for clause in found.values()]
        if clauses and self.on_error == "raise":
            raise DataError(
                f"{len(clauses):,} of {sum(map(len, sources.values())):,} {self.noun} cannot be used: "
                f"{first_clauses(clauses)}: {self.remedy}, or set --data.on_error skip"
            )
        for split, found in broken.items():
            if found and len(found) == len(sources[split]):
                first = next(iter(found.values()))
                raise DataError(
                    f"not one of {len(found):,} {self.noun} of {split} can be used, such as {first}: mend them"
                )

    def _readable(self, source: Samples, broken: dict[int, str]) -> np.ndarray:
        self.skipped += [source.id(i) for i in broken]
        return np.delete(np.arange(len(source)), list(broken))


def first_clauses(clauses: list[str]) -> str:
    """The first five clauses, and the number of further ones."""
    more = f"; and {len(clauses) - SHOWN:,} more" if len(clauses) > SHOWN else ""
    return f"{'; '.join(clauses[:SHOWN])}{more}"


def extent(counts: Sequence[int]) -> str:
    """Lowest and highest of some counts: "28 to 30", or "30" where they are equal."""
    low, high = min(counts), max(counts)
    return f"{low:,}" if low == high else f"{low:,} to {high:,}"
