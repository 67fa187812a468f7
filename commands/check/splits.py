"""Section of splits, classes and their balance."""

from collections.abc import Sequence

import numpy as np

from callbacks.figures.class_counts import class_counts
from commands.check.findings import splits_of
from commands.page import Figure, Finding, Section, Table
from datamodules.base import Split
from datamodules.split_data import IMBALANCE, SplitData
from datamodules.text.text_data import TextData
from modules.contracts import counted

FEW = 5  # training samples of a class that are too few


def check_splits(data: SplitData) -> Section:
    """Count samples and classes of each split."""
    section, sizes = Section("Splits and classes"), {split: len(rows) for split, (_, rows) in splits_of(data).items()}
    total = max(1, sum(sizes.values()))
    rows = [(split, f"{size:,}", f"{100 * size / total:.1f} %") for split, size in sizes.items()]
    section.tables.append(Table(("split", data.noun, "share"), rows))
    if "train" in sizes and sizes["train"] < data.batch_size and not isinstance(data, TextData):
        section.wrong(
            f"data.batch_size is {data.batch_size}, but there {'is' if sizes['train'] == 1 else 'are'} only "
            f"{counted(sizes['train'], data.noun)} to train on: set it to {sizes['train']} or less"
        )
    for split in ("val", "test"):
        if split not in sizes:
            section.note(f"there is no {split} set")
    section.findings.extend(map(Finding, data.unlabeled))
    labeled = [split for split, (source, _) in splits_of(data).items() if data.classes and source.labels is not None]
    if labeled:
        _check_classes(data, labeled, section)
    return section


def _check_classes(data: SplitData, labeled: Sequence[Split], section: Section) -> None:
    classes, counts = data.classes or [], {}
    for split in labeled:
        source, rows = splits_of(data)[split]
        counts[split] = np.bincount(source.labels[rows], minlength=len(classes))
    rows = [[name, *(f"{counts[split][i]:,}" for split in labeled)] for i, name in enumerate(classes)]
    section.tables.append(Table(("class", *labeled), rows))
    said = "; ".join(f"{split}: {counts[split].min():,} to {counts[split].max():,} of a class" for split in labeled)
    section.figures.append(Figure(class_counts(classes, counts, data.noun), f"{data.noun} of each class; {said}"))
    train = counts.get("train")
    for split in labeled:
        lacking = [classes[i] for i in np.flatnonzero(counts[split] == 0)]
        if lacking and split == "train":
            section.wrong(f"{counted(len(lacking), 'classes')} without any {data.noun} to train on", lacking)
        elif lacking:
            section.note(f"{counted(len(lacking), 'classes')} not in {split}, so its metrics do not tell", lacking)
    if train is None:
        return
    most, least = train.argmax(), train.argmin()
    if train[most] >= IMBALANCE * train[least] > 0:
        section.note(
            f"classes are imbalanced: {train[most]:,} {data.noun} of {classes[most]!r} and {train[least]:,} of "
            f"{classes[least]!r}; accuracy favors the frequent ones, so look at the metrics of each class too"
        )
    if few := [f"{classes[i]} ({train[i]})" for i in np.flatnonzero((train > 0) & (train < FEW))]:
        section.note(f"{counted(len(few), 'classes')} with fewer than {FEW} {data.noun} to train on", few)
