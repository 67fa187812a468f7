"""Division of samples: stratified subsets, and the folds of a k-fold cross-validation, by class and by group."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold, KFold, StratifiedGroupKFold, StratifiedKFold

from datamodules.text_files import read_rows
from modules.contracts import ConfigError, DataError, check_range

FOLDER = "folder"


def check_labels(fraction: float, number: int | None) -> None:
    """Check the settings of a label subset.

    Raises:
        ConfigError: out of range, or both.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(
            f"data.label_fraction is {fraction:g}, but must be above 0 and at most 1: a count is data.num_labels"
        )
    if number is not None and number < 1:
        raise ConfigError(f"data.num_labels is {number}, but must be at least 1: a fraction is data.label_fraction")
    if number is not None and fraction != 1:
        raise ConfigError(
            f"data.label_fraction {fraction:g} and data.num_labels {number} say the same twice: leave one of them out"
        )


def check_folds(folds: int, held_out_fold: int, fold_groups: str | None) -> None:
    """Check the settings of a cross-validation.

    Raises:
        ConfigError: a single fold, a fold that there is not, or settings of folds without any.
    """
    check_range("data.folds", folds)
    if folds == 1:
        raise ConfigError("data.folds is 1, but a cross-validation has at least 2 folds; 0 is none")
    for name, value in (("held_out_fold", held_out_fold or None), ("fold_groups", fold_groups)):
        if value is not None and not folds:
            raise ConfigError(f"data.{name} is {value}, but data.folds is 0: set it to a number of folds")
    check_range("data.held_out_fold", held_out_fold, high=max(folds - 1, 0))


def strata_of(source: Any, rows: np.ndarray | None = None, least: int = 1) -> np.ndarray | None:
    """Strata int64 (N,) that a division spreads evenly: the class of each sample, or the rarest of its tags.

    Null without either, and for tags where a stratum has fewer than `least` samples.

    Args:
        source: of the samples, with `labels` int64 (N,) and perhaps `tags` (N, C).
        rows: those that are divided; null takes all.
        least: samples that each stratum needs.
    """
    labels, tags = source.labels, getattr(source, "tags", None)
    if labels is None and tags is not None:
        rarity = np.append(tags.sum(0), len(tags))  # behind the tags: of images without any
        order = np.argsort(rarity, kind="stable")
        labels = order[np.append(tags, np.ones((len(tags), 1), tags.dtype), 1)[:, order].argmax(1)]
        least_found = np.unique(labels if rows is None else labels[rows], return_counts=True)[1].min(initial=len(tags))
        if least_found < least:
            return None
    return labels if labels is None or rows is None else labels[rows]


def divide(
    labels: np.ndarray | None, indices: np.ndarray, fraction: float, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Stratified split: draw a fraction of `indices`, the same of every class.

    Every class keeps at least one sample on the drawn side. Returns the drawn ones and the rest, both sorted.
    """
    groups = [indices] if labels is None else [indices[labels[indices] == c] for c in np.unique(labels[indices])]
    drawn = [random.permutation(group)[: max(1, round(fraction * len(group)))] for group in groups]
    chosen = np.sort(np.concatenate(drawn))
    return chosen, np.setdiff1d(indices, chosen)


def fold_of(
    labels: np.ndarray | None, classes: Sequence[str], groups: np.ndarray | None, folds: int, count: int
) -> np.ndarray:
    """Fold of each of N samples, int64 (N,), 0..folds-1; the same in every run.

    Classes are spread evenly over the folds where there are labels; samples of a group are kept together.

    Args:
        labels: int64 (N,), 0..C-1; null without.
        classes: names of the C classes, for messages.
        groups: group of each sample (N,); null lets each sample go its own way.
        folds: number of folds.
        count: N.

    Raises:
        ConfigError: more folds than groups, or than samples of a class.
    """
    if groups is None and labels is not None:
        counts = np.bincount(labels, minlength=len(classes))
        few = [int(i) for i in np.flatnonzero(counts) if counts[i] < folds]
        if few:
            raise ConfigError(
                f"data.folds is {folds}, but class {classes[few[0]]!r} has {counts[few[0]]} training samples: "
                "choose fewer folds, or leave the class out"
            )
    parts = count if groups is None else len(np.unique(groups))
    if parts < folds:
        unit = "training samples" if groups is None else "groups"
        raise ConfigError(f"data.folds is {folds}, but there are {parts} {unit}: choose fewer folds")
    plain, stratified = (KFold, StratifiedKFold) if groups is None else (GroupKFold, StratifiedGroupKFold)
    kind: Any = plain if labels is None else stratified  # type stubs know no GroupKFold that shuffles
    found = np.empty(count, np.int64)
    rows = np.zeros(count) if labels is None else labels
    for fold, (_, held) in enumerate(kind(folds, shuffle=True, random_state=0).split(rows, rows, groups)):
        found[held] = fold
    return found


def groups_of(names: Sequence[str], given: str) -> np.ndarray:
    """Group of each sample as text (N,).

    Args:
        names: ids of the samples, usually paths below the root.
        given: `folder` for the folder of each file, or `FILE.csv:COLUMN`, a table with a column `path` (or `id`) of
            these ids.

    Raises:
        ConfigError: something else, or a table without such columns.
        DataError: the table cannot be read, or lacks a sample.
    """
    if given == FOLDER:
        return np.array([str(Path(name).parent) for name in names])
    file, _, column = given.rpartition(":")
    if not file:
        raise ConfigError(f"data.fold_groups is {given!r}, but must be `{FOLDER}` or FILE.csv:COLUMN")
    header, rows = _table(Path(file).expanduser())
    key = next((name for name in ("path", "id") if name in header), None)
    if key is None or column not in header:
        lacking = "path" if key is None else column
        raise ConfigError(f"data.fold_groups: {file} has no column {lacking!r}, but {', '.join(header)}")
    known: dict[str, str] = {}
    for row in rows:
        name, group = row[header.index(key)], row[header.index(column)]
        if known.setdefault(name, group) != group:
            raise DataError(f"{file} has {name} in two groups, {known[name]} and {group}: leave one of the rows out")
    if lacking := [name for name in names if name not in known]:
        raise DataError(f"{file} has no row for {lacking[0]} ({len(lacking):,} of {len(names):,} samples lack one)")
    return np.array([known[name] for name in names])


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    rows = [row.cells for row in read_rows(path)]
    if not rows:
        raise DataError(f"{path} is empty: give a table with the columns path and that of the groups")
    return rows[0], [row + [""] * (len(rows[0]) - len(row)) for row in rows[1:]]
