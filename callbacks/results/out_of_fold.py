"""Out-of-fold predictions of a cross-validation: each sample's by the run that has not seen it, in one table."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from callbacks.collectors.suspects import MAX_VALUES
from callbacks.results.variants import Repeat
from callbacks.writers.per_class import write_csv


class Judged(NamedTuple):
    """Labels and out-of-fold probabilities of N samples.

    Args:
        ids: of the samples.
        labels: given ones, int64 (N,), 0..C-1.
        scores: probabilities float64 (N, C), the mean over seeds.
        classes: names of the C classes.
    """

    ids: list[str]
    labels: np.ndarray
    scores: np.ndarray
    classes: list[str]


def write_out_of_fold(folder: Path, repeats: Sequence[Repeat]) -> Judged | None:
    """Write `out_of_fold.csv`: the rows of all `predictions/test.csv`, behind columns of seed and fold.

    Args:
        folder: of a variant, with a run directory for each repetition; runs without such a table leave none.
        repeats: the repetitions.

    Returns:
        The probabilities of all samples; null where the tables have none, no labels, or more than memory takes.
    """
    columns, rows = [], []
    for repeat in repeats:
        path = folder / repeat.name / "predictions" / "test.csv"
        if not path.is_file():
            return None
        with path.open(newline="", encoding="utf-8", errors="surrogateescape") as file:
            columns, *found = csv.reader(file)
        rows += [[repeat.seed, repeat.fold, *row] for row in found]
    write_csv(folder / "out_of_fold.csv", [["seed", "fold", *columns], *rows])
    return _judged(columns, [row[2:] for row in rows])


def _judged(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Judged | None:
    places = [i for i, name in enumerate(columns) if name.startswith("p(") and name.endswith(")")]
    if not places or "true" not in columns or not rows or len(rows) * len(places) > MAX_VALUES:
        return None
    classes = [columns[i][2:-1] for i in places]
    of_id: dict[str, list[Sequence[str]]] = {}
    for row in rows:
        of_id.setdefault(row[0], []).append(row)
    scores = [np.mean([[float(row[i]) for i in places] for row in same], axis=0) for same in of_id.values()]
    labels = [classes.index(same[0][columns.index("true")]) for same in of_id.values()]
    return Judged(list(of_id), np.array(labels), np.array(scores), classes)
